"""Samples to log-mel features, and from one rate to another."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.frontends.audio_libraries import import_audio_library

MAX_RATE_FACTOR = 50
"""How much higher or lower than ours a sound's rate may be."""

_FLOOR = 1e-8  # of the power of a band, about that of rounding to 16 bits
_BLOCK = 8192  # frames that are transformed at once, so that an hour takes no more memory
_FINEST = 1000  # largest denominator of a ratio of rates, which bounds the resampling kernel
_MOST_BINS = 1 << 14


@dataclass(frozen=True)
class LogMel:
    """Logarithm of the power in mel bands (Davis & Mermelstein 1980), one row per hop.

    Row i describes the samples around its centre, (i + 1/2) · hop; beyond the ends there are
    zeros. So L = ⌈samples / hop⌉ rows cover the sound and row i stands for hop i, whatever the
    window. Even the shortest sound has one row.

    Args:
        rate: samples per second.
        window: samples that a row sees, under a Hann window; at least `hop`.
        hop: samples from one row to the next.
        mels: number of bands, at most that of the window's samples.
        low_hz: where the lowest band begins.
        high_hz: where the highest band ends, at most half of `rate`.
        range_db: decibels below the loudest value of a sound that are kept; what is quieter is
            raised to there, and the loudest becomes 0; silence is as quiet as it gets. None
            leaves values as they are.
        center: share of each band's mean over the sound that is taken off; all of it is cepstral
            mean normalisation (Atal 1974), and takes much of microphone and speaker with it, but
            in a short sound also much of what is said. False is 0 and True 1.

    Raises:
        ValueError: if an argument breaks a rule above, or the bands are narrower than the
            spectrum resolves.
    """

    rate: int
    window: int
    hop: int
    mels: int
    low_hz: float
    high_hz: float
    range_db: float | None = None
    center: bool | float = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.rate, int) or self.rate < 1:
            raise ValueError(f"rate must be a whole number, at least 1 Hz, got {self.rate!r}")
        if not 1 <= self.hop <= self.window:
            raise ValueError(
                f"the hop must be at least one sample and at most the window, "
                f"got {self.hop} and {self.window} samples"
            )
        if not 1 <= self.mels <= self.window:
            raise ValueError(
                f"mels must lie in 1 … {self.window}, the samples of the window, got {self.mels}"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise ValueError(
                f"low_hz and high_hz must rise within 0 … {self.rate / 2} Hz, half the rate, "
                f"got {self.low_hz} and {self.high_hz}"
            )
        if self.range_db is not None and not self.range_db > 0:
            raise ValueError(f"range_db must be above 0, got {self.range_db}")
        if not 0 <= self.center <= 1:
            raise ValueError(f"center must lie in 0 … 1, got {self.center}")

    def count_rows(self, samples: int) -> int:
        """Return L, the number of rows of so many samples."""
        return max(1, -(-samples // self.hop))

    @property
    def filters(self) -> Tensor:
        """How much of each frequency, from 0 to half the rate, a band takes. Shape: (K, mels)."""
        return _tables(self)[1]

    def __call__(self, samples: Tensor, filters: Tensor | None = None) -> Tensor:
        """Return the features.

        Args:
            samples: the sound.
            filters: in place of the settings' own.

        Shape:
            samples (n,); filters (K, mels). returns: (L, mels) float32.
        """
        window, own = _tables(self)
        filters = own if filters is None else filters
        bins = 2 * (len(filters) - 1)
        rows = self.count_rows(len(samples))
        left = (bins - self.hop) // 2
        right = (rows - 1) * self.hop + bins - left - len(samples)
        padded = F.pad(samples, (left, right))
        spectrogram = import_audio_library("torchaudio.functional").spectrogram
        blocks = []
        for first in range(0, rows, _BLOCK):
            last = min(first + _BLOCK, rows) - 1
            piece = padded[first * self.hop : last * self.hop + bins]
            power = spectrogram(
                piece, 0, window, bins, self.hop, self.window, 2.0, False, center=False
            )  # (bins / 2 + 1, rows of the block)
            blocks.append((power.T @ filters).clamp_(min=_FLOOR).log_())
        return self._level(torch.cat(blocks))

    def _level(self, values: Tensor) -> Tensor:
        """Return the features of a whole sound without what is its own. Shape: (L, mels)."""
        if self.range_db is not None:
            lowest = -self.range_db * math.log(10) / 10
            loudest = values.max()
            if loudest <= math.log(_FLOOR) + 1e-3:  # silence has no loudest value, only quiet ones
                loudest = loudest - lowest
            values = (values - loudest).clamp_(min=lowest)
        return values - self.center * values.mean(0) if self.center else values


def rate_ratio(source: int, target: int, speed: Fraction = Fraction(1)) -> Fraction:
    """Return samples after over samples before, when a sound is resampled and played faster.

    The usual rates are exact. An odd ratio is rounded to a denominator of at most 1,000, so that
    its kernel stays small; it is off by at most one part in 1,000.

    Args:
        source: the sound's samples per second.
        target: ours.
        speed: more than 1 makes the sound shorter and higher.

    Raises:
        ValueError: if the rates differ by more than a factor of 50.
    """
    if source < 1 or not 1 / MAX_RATE_FACTOR <= source / target <= MAX_RATE_FACTOR:
        raise ValueError(
            f"the sound's rate must lie within a factor of {MAX_RATE_FACTOR} of {target} Hz, "
            f"got {source}"
        )
    return (Fraction(target, source) / speed).limit_denominator(_FINEST)


def resampled_count(count: int, ratio: Fraction) -> int:
    """Return how many samples there are after resampling."""
    return -(-count * ratio.numerator // ratio.denominator)


def resample(samples: Tensor, ratio: Fraction) -> Tensor:
    """Return the samples at another rate, band-limited.

    Shape:
        samples (n,). returns: (⌈n · ratio⌉,).
    """
    if ratio == 1 or not len(samples):
        return samples
    found: Tensor = _resampler(ratio)(samples)
    count = resampled_count(len(samples), ratio)
    return F.pad(found, (0, count - len(found)))  # long sounds come a few samples short or long


@lru_cache(maxsize=32)
def _resampler(ratio: Fraction) -> Any:
    """Return torchaudio's resampling with its kernel, which takes longer to make than to use."""
    transforms = import_audio_library("torchaudio.transforms")
    return transforms.Resample(ratio.denominator, ratio.numerator)


@lru_cache(maxsize=8)
def _tables(settings: LogMel) -> tuple[Tensor, Tensor]:
    """Return the window (window,) and the mel filters (bins / 2 + 1, mels) of settings.

    The transform has more bins than the window where a band would be narrower than one.
    """
    functional = import_audio_library("torchaudio.functional")
    bins = 1 << math.ceil(math.log2(max(settings.window, 2)))
    while bins <= _MOST_BINS:
        with warnings.catch_warnings():  # of empty bands, which we look for ourselves
            warnings.simplefilter("ignore")
            filters: Tensor = functional.melscale_fbanks(
                bins // 2 + 1, settings.low_hz, settings.high_hz, settings.mels, settings.rate
            )
        if bool((filters.amax(dim=0) > 0).all()):
            return torch.hann_window(settings.window), filters
        bins *= 2
    raise ValueError(
        f"mels must be fewer, or the range wider: {settings.mels} bands from {settings.low_hz} to "
        f"{settings.high_hz} Hz are narrower than the spectrum resolves"
    )
