"""Patterns: who may attend to whom."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from seqattn.recorded import Recorded

PatternName = Literal["full", "causal"]


class Pattern(Recorded, ABC):
    """Says, from the distance between two positions of a sequence, whether one sees the other."""

    @abstractmethod
    def allows(self, distance: Tensor) -> Tensor:
        """Return whether a query sees a key at this distance (key index minus query index).

        Shape:
            distance: any, int64. returns: the same, bool.
        """

    @property
    def is_causal(self) -> bool:
        """Whether no query sees a later key."""
        return False

    @property
    def is_full(self) -> bool:
        """Whether every query sees every key of its sequence, so that no mask is needed."""
        return False

    @property
    def reads_edges(self) -> bool:
        """Whether the batch's edges, and not distances, say who is seen."""
        return False


class Full(Pattern):
    """Every position sees every position of its sequence."""

    @property
    def is_full(self) -> bool:
        """Always."""
        return True

    def allows(self, distance: Tensor) -> Tensor:
        """Return True everywhere."""
        return torch.ones_like(distance, dtype=torch.bool)


class Causal(Pattern):
    """Every position sees itself and what is before it."""

    @property
    def is_causal(self) -> bool:
        """Always."""
        return True

    def allows(self, distance: Tensor) -> Tensor:
        """Return True for the query's own position and earlier ones."""
        return distance <= 0


class Window(Pattern):
    """Every position sees `left` positions before it, itself, and `right` after it.

    Args:
        left: positions before; not negative.
        right: positions after; 0 makes the window causal.

    Raises:
        TypeError: if one is not a whole number.
        ValueError: if one is negative.
    """

    def __init__(self, left: int, right: int) -> None:
        for name, width in (("left", left), ("right", right)):
            if isinstance(width, bool) or not isinstance(width, int):
                raise TypeError(f"{name} of a Window must be a whole number, got {width!r}")
            if width < 0:
                raise ValueError(f"{name} of a Window must not be negative, got {width}")
        self.left = left
        self.right = right

    @property
    def is_causal(self) -> bool:
        """Whether nothing after the query is seen."""
        return self.right == 0

    def allows(self, distance: Tensor) -> Tensor:
        """Return True for keys inside the window."""
        return (distance >= -self.left) & (distance <= self.right)


class Edges(Pattern):
    """Every position sees the sources of the edges that end at it.

    Where a batch has no edges at all (``edge_index=None``), every position sees its whole
    sequence, so that one encoder serves graphs and sequences.

    Args:
        self_loops: let every position see itself too. Without, a position at which no edge ends
            reads nothing, and its output is zero.
    """

    def __init__(self, self_loops: bool = True) -> None:
        self.self_loops = self_loops

    @property
    def reads_edges(self) -> bool:
        """Always."""
        return True

    def allows(self, distance: Tensor) -> Tensor:
        """Return True everywhere: what a batch without edges sees."""
        return torch.ones_like(distance, dtype=torch.bool)


def as_pattern(pattern: PatternName | Pattern) -> Pattern:
    """Return the pattern of that name, or the pattern itself.

    Raises:
        ValueError: if the name is unknown.
    """
    if isinstance(pattern, Pattern):
        return pattern
    if pattern == "full":
        return Full()
    if pattern == "causal":
        return Causal()
    raise ValueError(f"pattern must be 'full', 'causal' or a Pattern, got {pattern!r}")
