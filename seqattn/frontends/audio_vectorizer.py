"""Raw sound to standardised log-mel features: the layout between a sound and its front-end."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterable, Sized
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.errors import DataError
from seqattn.frontends.audio_augmentation import AudioAugmentation
from seqattn.frontends.audio_features import LogMel, rate_ratio, resample, resampled_count
from seqattn.frontends.audio_files import Sound
from seqattn.frontends.audio_pieces import cut_sound
from seqattn.frontends.audio_source import (
    RawSound,
    describe_source,
    measure_source,
    name_source,
    parse_sound,
    read_source,
)
from seqattn.sound import AudioClip
from seqattn.vectorizer import Piece, Vectorized, Vectorizer

Corrupt = Literal["error", "skip", "pad"]

_FITTED_SOURCES = 1000
_FITTED_SECONDS = 60.0


class AudioVectorizer(Vectorizer):
    """Turns a sound into rows of log-mel features, float32 (L, mels), standardised per band.

    A source is a path, an :class:`AudioClip`, or a tuple (waveform, rate); see
    :func:`~seqattn.frontends.audio_source.parse_sound`. Channels are averaged and the rate is
    changed to that of the features. Mean and deviation of each band are those of the training
    sources; of at most 1,000 of them, drawn with a fixed seed, and of their first minute each.

    What is wrong with a sound (it cannot be decoded, ends before its header says, holds no
    samples or not only numbers, has a rate far from ours, or its stretch lies outside) is treated
    as `corrupt` says, and reported: ``error`` raises; ``skip`` makes it one silent row that is
    not labelled, so that it counts in no loss and no metric and batches stay what they were;
    ``pad`` puts silence where samples are missing (a rate far from ours is skipped even so). Both
    of the latter warn once for each file or waveform.

    Args:
        features: settings of the features.
        augmentation: what is done in training; None for nothing.
        corrupt: what is done with a sound that is damaged.
        piece_seconds: longest sound that is predicted at once; a longer one goes in overlapping
            pieces.
        rows_per_position: rows that the front-end makes one position of; pieces begin at them.

    Raises:
        ValueError: if `corrupt` is unknown or a piece shorter than a second.
    """

    def __init__(
        self,
        features: LogMel,
        augmentation: AudioAugmentation | None = None,
        *,
        corrupt: Corrupt = "error",
        piece_seconds: float = 60.0,
        rows_per_position: int = 1,
    ) -> None:
        if corrupt not in ("error", "skip", "pad"):
            raise ValueError(f"corrupt must be 'error', 'skip' or 'pad', got {corrupt!r}")
        if not piece_seconds >= 1:
            raise ValueError(f"piece_seconds must be at least 1, got {piece_seconds}")
        self.features = features
        self.augmentation = augmentation or AudioAugmentation()
        self.corrupt = corrupt
        self.piece_seconds = piece_seconds
        self.rows_per_position = rows_per_position
        self.mean = torch.empty(0)
        self.deviation = torch.empty(0)
        self._reported: set[str] = set()

    @property
    def frame_seconds(self) -> float:
        """What one row covers, in seconds."""
        return self.features.hop / self.features.rate

    def fit(self, sources: Iterable[Any]) -> None:
        """Take mean and standard deviation of each band.

        Raises:
            ValueError: if there is no source that can be read, or one breaks a rule.
        """
        given = sources if isinstance(sources, Sized) else list(sources)
        chosen, rows = _sample(len(given)), 0
        sums = torch.zeros(2, self.features.mels, dtype=torch.float64)
        for place, raw in enumerate(given):
            sound = self._read(parse_sound(raw)) if place in chosen else None
            if sound is None:
                continue
            samples = sound.samples[: round(_FITTED_SECONDS * sound.rate)]
            values = self.features(resample(samples, self._ratio(sound))).double()
            rows += len(values)
            sums += torch.stack([values.sum(0), values.square().sum(0)])
        if not rows:
            raise ValueError(f"sources must hold a sound to fit on, got none in {len(given)}")
        mean, square = sums / rows
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        self._take(mean.tolist(), [value if value > 1e-4 else 1.0 for value in deviation.tolist()])

    @property
    def is_fitted(self) -> bool:
        """Whether mean and deviation are known."""
        return len(self.mean) > 0

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the rows of one sound, and the time of each in the sound as it was given.

        `draw` seeds all augmentation. Times count from the start of a stretch.

        Raises:
            RuntimeError: if it is not fitted.
            TypeError: if the source is no sound.
            ValueError: if a waveform breaks a rule, or is damaged with ``corrupt="error"``.
            DataError: if there is no such file, or it is damaged with ``corrupt="error"``.
        """
        if not self.is_fitted:
            raise RuntimeError("the vectorizer must be fitted, or given a state, before it is used")
        sound = self._read(parse_sound(raw))
        if sound is None:
            return self._skipped()
        if draw is None:
            ratio = self._ratio(sound)
            values = self._standardise(resample(sound.samples, ratio))
            return Vectorized(values, times=self._times(len(values), sound, ratio))
        return self._augmented(sound, np.random.default_rng(draw))

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, mels)."""
        return torch.empty(0, self.features.mels)

    def length(self, raw: Any) -> int:
        """Return L by the file's header, at the speed that was recorded.

        It is an estimate for an MP3 file whose header tells no length.

        Raises:
            TypeError, ValueError, DataError: as vectorizing does; damage only where the header
                shows it.
        """
        source = parse_sound(raw)
        sound = measure_source(source)
        if not self._accepts(source, sound):
            return 1
        return self.features.count_rows(resampled_count(sound.count, self._ratio(sound)))

    def pieces(self, raw: Any) -> list[Piece] | None:
        """Return the overlapping pieces of a sound longer than `piece_seconds`; None for others.

        Neighbours have a sixth of a piece in common.
        """
        source = parse_sound(raw)
        sound = measure_source(source)
        if not self._accepts(source, sound):
            return None
        if not isinstance(source, AudioClip):
            source = (source[0].mean(axis=1), source[1])
        return cut_sound(
            source,
            sound.count / sound.rate,
            chunk=self.piece_seconds,
            overlap=self.piece_seconds / 6,
            grid=self.frame_seconds * self.rows_per_position,
        )

    def state(self) -> dict[str, Any]:
        """Return mean and deviation of each band."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take mean and deviation.

        Raises:
            ValueError: if they are not of as many bands as there are.
        """
        self._take(state["mean"], state["deviation"])

    def _take(self, mean: list[float], deviation: list[float]) -> None:
        if not len(mean) == len(deviation) == self.features.mels:
            raise ValueError(
                f"the state must hold mean and deviation of {self.features.mels} mels, "
                f"got {len(mean)} and {len(deviation)}"
            )
        self.mean, self.deviation = torch.tensor(mean), torch.tensor(deviation)

    def _augmented(self, sound: Sound, generator: np.random.Generator) -> Vectorized:
        """Return the rows of one sound as a generator alters it, and their times."""
        augmentation = self.augmentation
        samples, first = augmentation.move_ends(sound.samples, sound.rate, generator)
        ratio = self._ratio(sound, augmentation.draw_speed(generator))
        samples = augmentation.disturb(resample(samples, ratio), self.features.rate, generator)
        filters = augmentation.alter_filters(self.features.filters, generator)
        values = augmentation.mask(self._standardise(samples, filters), generator)
        times = self._times(len(values), sound, ratio) + first / sound.rate
        return Vectorized(values, times=times)

    def _standardise(self, samples: Tensor, filters: Tensor | None = None) -> Tensor:
        """Return the standardised features of samples (n,). Shape: (L, mels)."""
        return (self.features(samples, filters) - self.mean) / self.deviation

    def _ratio(self, sound: Sound, speed: Fraction = Fraction(1)) -> Fraction:
        return rate_ratio(sound.rate, self.features.rate, speed)

    def _times(self, rows: int, sound: Sound, ratio: Fraction) -> Tensor:
        """Return the centre of each row in seconds of the sound as it was given. Shape: (L,)."""
        step = self.features.hop / float(ratio * sound.rate)
        return (torch.arange(rows, dtype=torch.float64) + 0.5) * step

    def _skipped(self) -> Vectorized:
        """Return one silent row without a label."""
        values = self._standardise(torch.zeros(0))
        times = torch.full((1,), self.frame_seconds / 2, dtype=torch.float64)
        return Vectorized(values, labelled=torch.zeros(1, dtype=torch.bool), times=times)

    def _read(self, source: RawSound) -> Sound | None:
        """Return a sound with all its samples; None if it is to be skipped."""
        sound = read_source(source)
        if not self._accepts(source, sound):
            return None
        missing = sound.count - len(sound.samples)
        return Sound(sound.rate, sound.count, F.pad(sound.samples, (0, missing)))

    def _accepts(self, source: RawSound, sound: Sound) -> bool:
        """Return whether a sound is to be used; report a fault.

        Raises:
            DataError: if it has one, by the policy.
        """
        wrong_rate = self._rate_fault(sound)
        fault = sound.fault or wrong_rate
        if fault is None:
            return True
        if self.corrupt == "error":
            raise DataError(fault, path=name_source(source))
        is_used = self.corrupt == "pad" and wrong_rate is None  # silence mends no rate
        does = "is padded with silence" if is_used else "is skipped"
        self._report(describe_source(source), fault, does)
        return is_used

    def _rate_fault(self, sound: Sound) -> str | None:
        try:
            self._ratio(sound)
        except ValueError as error:
            return str(error)
        return None

    def _report(self, name: str, fault: str, does: str) -> None:
        """Warn, once for each file or waveform."""
        if name in self._reported:
            return
        self._reported.add(name)
        warnings.warn(f"{name}: {fault}; the sound {does}", UserWarning, stacklevel=2)


def _sample(count: int) -> Container[int]:
    """Return the places of at most 1,000 of so many sources, the same ones every time."""
    if count <= _FITTED_SOURCES:
        return range(count)
    return set(np.random.default_rng(0).choice(count, _FITTED_SOURCES, replace=False).tolist())
