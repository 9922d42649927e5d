"""How a sequence head writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecodeSettings:
    """How outputs are searched for; a checkpoint holds them, a call may give others.

    Args:
        width: hypotheses that the search goes on with; 1 takes the best symbol at every step.
        length_penalty: scores are divided by length to this power.
        max_length: symbols written at most, END among them.
        max_length_factor: further ones, for each position that the encoder gives.
        min_length: symbols at least, END not among them.
        temperature: 0 searches; above it, symbols are drawn from logits divided by it.
        top_k: draw among the k best only.
        top_p: draw among the best that together have this probability.

    Raises:
        ValueError: if one is out of its range, or two do not go together.
    """

    width: int = 1
    length_penalty: float = 0.0
    max_length: int = 128
    max_length_factor: float = 0.0
    min_length: int = 0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        """Check every setting."""
        _require_at_least("width", self.width, 1)
        _require_at_least("max_length", self.max_length, 1)
        _require_at_least("min_length", self.min_length, 0)
        _require_at_least("max_length_factor", self.max_length_factor, 0)
        _require_at_least("temperature", self.temperature, 0)
        _require_at_least("top_k", self.top_k, 1)
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty must be finite, got {self.length_penalty}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in 0 … 1, without 0, got {self.top_p}")
        if self.min_length > self.max_length:
            raise ValueError(
                f"min_length must be at most max_length = {self.max_length}, got {self.min_length}"
            )
        if self.temperature and self.width > 1:
            raise ValueError(
                "a temperature draws one output and a width searches: set temperature=0 or "
                f"width=1, got {self.temperature} and {self.width}"
            )
        if not self.temperature and (self.top_k, self.top_p) != (None, None):
            raise ValueError("top_k and top_p need a temperature above 0, got 0")

    def override(self, **given: Any) -> Self:
        """Return the settings with others for those that are not None.

        Raises:
            ValueError: as the class.
        """
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def require_search_only(self) -> None:
        """Check that nothing but the width is set: all else needs a decoder.

        Raises:
            ValueError: if something is.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "width" and value != field.default:
                raise ValueError(f"{field.name} needs a decoder, got {value!r} and decoder=None")

    def require_n_best(self, n_best: int | None) -> int:
        """Return how many hypotheses to give for each sequence.

        Raises:
            ValueError: if they are none, or more than the search keeps.
        """
        if n_best is not None and not 1 <= n_best <= self.width:
            raise ValueError(f"n_best must lie in 1 … width = {self.width}, got {n_best}")
        return n_best or 1

    def limits(self, lengths: Sequence[int], most: int | None) -> Tensor:
        """Return how many symbols each sequence may have (B,), END among them.

        Args:
            lengths: positions that the encoder gives for each.
            most: positions in the decoder's learned table; None without one.
        """
        limits = [self.max_length + int(self.max_length_factor * length) for length in lengths]
        found = torch.tensor(limits, dtype=torch.int64)
        return found if most is None else found.clamp(max=most)


def _require_at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and not least <= value < math.inf:
        raise ValueError(f"{name} must be at least {least}, got {value}")
