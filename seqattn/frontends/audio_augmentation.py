"""What training does to a sound so that a model does not learn it by heart."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.errors import DataError
from seqattn.frontends.audio_features import rate_ratio, resample
from seqattn.frontends.audio_files import Sound, measure_sound, read_sound
from seqattn.frontends.audio_libraries import import_audio_library
from seqattn.sound import AudioClip

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")

_CHANCE = 0.5  # of silence, of a room, and of noise
_KNEE = 0.85  # of half the rate: the frequencies below are warped by the drawn factor itself
_KNOTS = 6  # of an equaliser's curve


class AudioAugmentation:
    """Ends, speed, room, noise, voice and masks, drawn anew from a generator; none by default.

    Args:
        crop_share: longest stretch that is cut off at each end, as a share of the sound.
        silence_seconds: longest silence that is put at each end of every second sound.
        speeds: factors, one of which is drawn: 1.1 makes a sound shorter and higher by a tenth.
        vocal_tract: largest relative change of the vocal tract's length (Jaitly & Hinton 2013,
            vocal tract length perturbation): the frequencies are stretched or squeezed by up to
            1 + `vocal_tract`, and time is not.
        equalizer_db: standard deviation of a gain in decibels that changes smoothly over the
            bands, as microphones differ.
        noise_folder: sound files, of which a random stretch is added to every second sound.
        colored_noise: whether noise of a random colour, white to brown, is added to every second
            sound.
        noise_snr: lowest and highest signal-to-noise ratio of both, in decibels.
        room_folder: impulse responses of rooms, one of which every second sound is heard in.
        time_masks: stretches of frames that are masked (Park et al. 2019, SpecAugment).
        time_mask_share: longest of them, as a share of the frames.
        frequency_masks: ranges of bands that are masked.
        frequency_mask_share: widest of them, as a share of the bands.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        *,
        crop_share: float = 0.0,
        silence_seconds: float = 0.0,
        speeds: Sequence[float] = (1.0,),
        vocal_tract: float = 0.0,
        equalizer_db: float = 0.0,
        noise_folder: str | None = None,
        colored_noise: bool = False,
        noise_snr: tuple[float, float] = (5.0, 20.0),
        room_folder: str | None = None,
        time_masks: int = 0,
        time_mask_share: float = 0.1,
        frequency_masks: int = 0,
        frequency_mask_share: float = 0.2,
    ) -> None:
        if not 0 <= crop_share < 0.5:
            raise ValueError(f"crop_share must lie in 0 … 0.5, 0.5 excluded, got {crop_share}")
        if not 0 <= silence_seconds <= 60:
            raise ValueError(f"silence_seconds must lie in 0 … 60, got {silence_seconds}")
        if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
            raise ValueError(f"speeds must be factors in 0.5 … 2, got {list(speeds)}")
        if not 0 <= vocal_tract <= 0.5:
            raise ValueError(f"vocal_tract must lie in 0 … 0.5, got {vocal_tract}")
        if not 0 <= equalizer_db <= 40:
            raise ValueError(f"equalizer_db must lie in 0 … 40 decibels, got {equalizer_db}")
        if len(noise_snr) != 2 or not -50 <= noise_snr[0] <= noise_snr[1] <= 100:
            raise ValueError(
                f"noise_snr must be lowest and highest in -50 … 100 decibels, got {list(noise_snr)}"
            )
        for name, count in (("time_masks", time_masks), ("frequency_masks", frequency_masks)):
            if count < 0:
                raise ValueError(f"{name} must be at least 0, got {count}")
        _require_share("time_mask_share", time_mask_share)
        _require_share("frequency_mask_share", frequency_mask_share)
        self.crop_share = crop_share
        self.silence_seconds = silence_seconds
        self.colored_noise = colored_noise
        self.vocal_tract = vocal_tract
        self.equalizer_db = equalizer_db
        self.speeds = [Fraction(str(speed)) for speed in speeds]
        self.noise = SoundFolder("noise_folder", noise_folder) if noise_folder else None
        self.noise_snr = (float(noise_snr[0]), float(noise_snr[1]))
        self.rooms = SoundFolder("room_folder", room_folder) if room_folder else None
        self.time_masks = time_masks
        self.time_mask_share = time_mask_share
        self.frequency_masks = frequency_masks
        self.frequency_mask_share = frequency_mask_share

    def move_ends(
        self, samples: Tensor, rate: int, generator: np.random.Generator
    ) -> tuple[Tensor, int]:
        """Return the sound without a random stretch of each end, or with silence there.

        Short stretches are cut off more often than long ones.

        Shape:
            samples (n,). returns: (m,), at least one where n is; and the place of its first sample
            in `samples`, below 0 for silence.
        """
        first = 0
        if self.crop_share:
            longest = self.crop_share * len(samples)
            first, last = (int(longest * generator.random() ** 2) for _ in range(2))
            samples = samples[first : len(samples) - last]
        if self.silence_seconds and generator.random() < _CHANCE:
            longest = int(self.silence_seconds * rate)
            before, after = generator.integers(longest + 1, size=2).tolist()
            return F.pad(samples, (before, after)), first - before
        return samples, first

    def draw_speed(self, generator: np.random.Generator) -> Fraction:
        """Return one of the speeds."""
        return self.speeds[int(generator.integers(len(self.speeds)))]

    def disturb(self, samples: Tensor, rate: int, generator: np.random.Generator) -> Tensor:
        """Return the sound as heard in a room and with noise, where they are asked for.

        Shape:
            samples (n,). returns: (n,).

        Raises:
            DataError: if a file of the folders cannot be used; names it.
            ValueError: if a folder holds no sound file.
        """
        if self.rooms is not None and generator.random() < _CHANCE:
            samples = reverberate(samples, self.rooms.read(generator, rate))
        if self.noise is not None and generator.random() < _CHANCE:
            noise = self.noise.read_stretch(generator, rate, len(samples))
            samples = add_noise(samples, noise, float(generator.uniform(*self.noise_snr)))
        if self.colored_noise and generator.random() < _CHANCE:
            noise = make_noise(len(samples), float(generator.uniform(0, 2)), generator)
            samples = add_noise(samples, noise, float(generator.uniform(*self.noise_snr)))
        return samples

    def alter_filters(self, filters: Tensor, generator: np.random.Generator) -> Tensor:
        """Return the filters through which another voice or microphone would sound like this one.

        Shape:
            filters (K, mels). returns: the same.
        """
        if self.vocal_tract:
            most = np.log1p(self.vocal_tract)
            filters = warp_filters(filters, float(np.exp(generator.uniform(-most, most))))
        if self.equalizer_db:
            knots = generator.normal(0, self.equalizer_db, _KNOTS)
            bands = np.linspace(0, _KNOTS - 1, filters.shape[1])
            gains = 10 ** (np.interp(bands, range(_KNOTS), knots) / 10)  # (mels,), of the power
            filters = filters * torch.from_numpy(gains).to(filters)
        return filters

    def mask(self, values: Tensor, generator: np.random.Generator) -> Tensor:
        """Return standardised features with stretches of time and ranges of bands at their mean.

        Shape:
            values (L, mels). returns: the same.
        """
        if not self.time_masks and not self.frequency_masks:
            return values
        values = values.clone()
        for _ in range(self.time_masks):
            values[_draw_range(generator, len(values), self.time_mask_share)] = 0
        for _ in range(self.frequency_masks):
            share = self.frequency_mask_share
            values[:, _draw_range(generator, values.shape[1], share)] = 0
        return values


class SoundFolder:
    """The sound files of a folder, at any depth, listed when one is first read.

    Args:
        name: of the argument, for messages.
        path: the folder.
    """

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self._files: list[str] = []

    @property
    def files(self) -> list[str]:
        """The files, sorted.

        Raises:
            ValueError: if there is none.
        """
        if not self._files:
            found = [path for path in Path(self.path).rglob("*") if path.suffix.lower() in SUFFIXES]
            self._files = sorted(map(str, found))
        if not self._files:
            raise ValueError(f"{self.name} must hold sound files, got none in {self.path!r}")
        return self._files

    def read(self, generator: np.random.Generator, rate: int) -> Tensor:
        """Return one whole file at a rate. Shape: (n,).

        Raises:
            DataError: if it is damaged.
            ValueError: if there is none.
        """
        path = self._draw(generator)
        return _whole(read_sound(AudioClip(path)), rate, path)

    def read_stretch(self, generator: np.random.Generator, rate: int, count: int) -> Tensor:
        """Return a random stretch of one file, which starts over where it is too short.

        Shape:
            returns: (count,).

        Raises:
            DataError: if the file is damaged.
            ValueError: if there is none.
        """
        path = self._draw(generator)
        header = measure_sound(AudioClip(path))
        room = header.count / header.rate - count / rate
        start = float(generator.uniform(0, room)) if room > 0 else 0.0
        end = start + count / rate if room > 0 else None
        found = _whole(read_sound(AudioClip(path, start, end)), rate, path)
        return found.repeat(-(-count // len(found)))[:count]

    def _draw(self, generator: np.random.Generator) -> str:
        return self.files[int(generator.integers(len(self.files)))]


def warp_filters(filters: Tensor, factor: float) -> Tensor:
    """Return filters that hear a frequency f where these hear `factor` · f.

    Above a knee the warp is linear up to half the rate, which stays where it is (Jaitly & Hinton
    2013, section 3; the knee lies at 85 % of half the rate, or where it is warped to that).

    Shape:
        filters (K, mels), from 0 Hz to half the rate. returns: the same.
    """
    top = len(filters) - 1
    knee = _KNEE * top * min(1.0, 1 / factor)
    places = np.interp(np.arange(top + 1), [0, knee, top], [0, knee * factor, top])
    lower = np.minimum(places.astype(np.int64), top - 1)
    share = torch.from_numpy(places - lower).to(filters)[:, None]
    return torch.lerp(filters[lower], filters[lower + 1], share)


def make_noise(count: int, slope: float, generator: np.random.Generator) -> Tensor:
    """Return noise whose power falls with frequency f as f^-slope: 0 white, 1 pink, 2 brown.

    Shape:
        returns: (count,) float32, without a mean.
    """
    if not count:
        return torch.zeros(0)
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum[0] = 0
    spectrum[1:] *= np.arange(1.0, len(spectrum)) ** (-slope / 2)
    return torch.from_numpy(np.fft.irfft(spectrum, count)).float()


def add_noise(samples: Tensor, noise: Tensor, decibels: float) -> Tensor:
    """Return samples with noise at a signal-to-noise ratio; silence stays silence.

    Shape:
        samples, noise (n,). returns: (n,).
    """
    power = noise.square().mean()
    if not power > 0:
        return samples
    gain = (samples.square().mean() / power * 10 ** (-decibels / 10)).sqrt()
    return samples + gain * noise


def reverberate(samples: Tensor, response: Tensor) -> Tensor:
    """Return samples as heard in a room, as loud as before; the direct sound keeps its time.

    Shape:
        samples (n,); response (m,), the room's impulse response. returns: (n,).
    """
    convolve = import_audio_library("torchaudio.functional").fftconvolve
    direct = int(response.abs().argmax())
    found: Tensor = convolve(samples, response)[direct : direct + len(samples)]
    heard = found.square().mean()
    return found * (samples.square().mean() / heard).sqrt() if heard > 0 else samples


def _whole(sound: Sound, rate: int, path: str) -> Tensor:
    """Return the samples of an undamaged file at a rate."""
    if sound.fault is not None:
        raise DataError(sound.fault, path=path)
    samples = F.pad(sound.samples, (0, sound.count - len(sound.samples)))
    return resample(samples, rate_ratio(sound.rate, rate))


def _draw_range(generator: np.random.Generator, size: int, share: float) -> slice:
    """Return a range whose length is uniform up to a share of the size, at a random place."""
    length = int(generator.integers(int(share * size) + 1))
    start = int(generator.integers(size - length + 1))
    return slice(start, start + length)


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in 0 … 1, got {value}")
