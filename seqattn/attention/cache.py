"""What a causal layer remembers between steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Cache(Protocol):
    """The memory of one layer for B sequences of equal length."""

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""


@dataclass
class AttentionCache:
    """Keys and values of the positions seen so far; grows in place.

    Positions come first, so that those in use are one piece of memory; and a selection is written
    where the one before the last was, since fresh memory costs more than what is copied.

    Args:
        keys: Shape: (capacity, B, H, K).
        values: Shape: (capacity, B, H, K_value).
        length: positions in use.
    """

    keys: Tensor
    values: Tensor
    length: int = 0
    _spare: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one position (B, H, K) and return all of them (B, H, length, K)."""
        if self.length == len(self.keys):
            self.keys = torch.cat([self.keys, torch.empty_like(self.keys)])
            self.values = torch.cat([self.values, torch.empty_like(self.values)])
        self.keys[self.length] = key
        self.values[self.length] = value
        self.length += 1
        keys, values = self.keys[: self.length], self.values[: self.length]
        return keys.permute(1, 2, 0, 3), values.permute(1, 2, 0, 3)

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not; without their gradients.

        Shape:
            rows (B',) int64.
        """
        used, (keys, values) = (self.keys, self.values), self._spare or (None, None)
        self.keys = self._copy(self.keys, rows, keys)
        self.values = self._copy(self.values, rows, values)
        self._spare = used

    def _copy(self, part: Tensor, rows: Tensor, spare: Tensor | None) -> Tensor:
        """Return the rows of a part, in spare memory where that is enough."""
        shape = len(part), len(rows), *part.shape[2:]
        size = math.prod(shape)
        if spare is None or spare.numel() < size:
            spare = part.new_empty(size)
        kept = spare.view(-1)[:size].view(shape)
        torch.index_select(part[: self.length].detach(), 1, rows, out=kept[: self.length])
        return kept
