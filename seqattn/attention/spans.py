"""Spans: the few sequences of a padded block whose scores are computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from seqattn.packing import Packing

# At most so many scores are computed together, unless one sequence has more: a megabyte in single
# precision, as much as the cache of a core holds (measured; half and twice as many cost the same).
_TOGETHER = 2**18


@dataclass(frozen=True)
class Span:
    """Sequences of one group that are computed together.

    Args:
        group: number of the group.
        first: number of the first of them, in the group.
        size: how many, c.
        length: the group's, L.
    """

    group: int
    first: int
    size: int
    length: int


@dataclass(frozen=True)
class Spans:
    """The spans of all groups, longest first, and tensors cut by them.

    Args:
        spans: in the order of the blocks.
        heads: H.
    """

    spans: tuple[Span, ...]
    heads: int

    @classmethod
    def of(cls, packing: Packing, heads: int) -> Spans:
        """Return the spans for H heads, cut once per batch."""
        return packing.once(("spans", heads), lambda: cls(tuple(_cut(packing, heads)), heads))

    @property
    def areas(self) -> list[int]:
        """How many scores each span has, c H L L."""
        return [self.heads * span.size * span.length**2 for span in self.spans]

    def rows(self, x: Tensor) -> list[Tensor]:
        """Cut rows of blocks. Shape: (P H, K). returns: (c H, L, K) of each span."""
        parts = x.split([self.heads * span.size * span.length for span in self.spans])
        return [
            part.view(-1, span.length, x.shape[1])
            for part, span in zip(parts, self.spans, strict=True)
        ]

    def scores(self, x: Tensor) -> list[Tensor]:
        """Cut the scores of all spans. Shape: (N,). returns: (c H, L, L) of each span."""
        parts = x.split(self.areas)
        return [
            part.view(-1, span.length, span.length)
            for part, span in zip(parts, self.spans, strict=True)
        ]

    def terms(self, x: Tensor | None) -> Sequence[Tensor | None]:
        """Cut the edges' terms, if any. Shape: (h, N / H). returns: (c, h, L, L) of each span."""
        if x is None:
            return [None] * len(self.spans)
        parts = x.split([span.size * span.length**2 for span in self.spans], dim=1)
        return [
            part.view(-1, span.size, span.length, span.length).transpose(0, 1)
            for part, span in zip(parts, self.spans, strict=True)
        ]

    def scratch(self, like: Tensor) -> list[Tensor]:
        """Return room for the scores of each span, the same for all. Shape: (c H, L, L)."""
        room, views = like.new_empty(max(self.areas)), dict[tuple[int, int], Tensor]()
        for area, span in zip(self.areas, self.spans, strict=True):
            if (span.size, span.length) not in views:
                view = room[:area].view(-1, span.length, span.length)
                views[span.size, span.length] = view
        return [views[span.size, span.length] for span in self.spans]


def _cut(packing: Packing, heads: int) -> Iterator[Span]:
    for number, group in enumerate(packing.groups):
        most = max(1, _TOGETHER // (heads * group.length**2))
        for first in range(0, group.size, most):
            yield Span(number, first, min(most, group.size - first), group.length)
