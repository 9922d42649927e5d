"""What a causal layer remembers between steps."""

from __future__ import annotations

from dataclasses import dataclass
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

    Args:
        keys: Shape: (B, H, capacity, K).
        values: Shape: (B, H, capacity, K_value).
        length: positions in use.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one position (B, H, K) and return all of them (B, H, length, K)."""
        if self.length == self.keys.shape[2]:
            self.keys = torch.cat([self.keys, torch.empty_like(self.keys)], dim=2)
            self.values = torch.cat([self.values, torch.empty_like(self.values)], dim=2)
        self.keys[:, :, self.length] = key
        self.values[:, :, self.length] = value
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        self.keys = self.keys.index_select(0, rows)
        self.values = self.values.index_select(0, rows)
