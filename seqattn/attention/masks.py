"""What is added to, or hidden from, the scores of each padded block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, padding_of, slot_starts
from seqattn.attention.edges import EdgeList
from seqattn.attention.patterns import Pattern
from seqattn.attention.spans import Span
from seqattn.packing import Packing


@dataclass(frozen=True)
class EdgeTerms:
    """What edges do to the scores of one layer.

    Args:
        edges: the edges, self-loops added.
        is_pattern: whether a query sees only along edges.
        bias: added to the scores of edges, times the gain. Shape: (H or 1, E'), or None.
        multiplier: times the weights of edges. Shape: (H, E'), or None.
        gain: factor of the bias for each head. Shape: (H,), or None for 1.
    """

    edges: EdgeList
    is_pattern: bool
    bias: Tensor | None = None
    multiplier: Tensor | None = None
    gain: Tensor | None = None

    @property
    def scaled_bias(self) -> Tensor | None:
        """What is added to the scores of edges. Shape: (H, E'), or None."""
        if self.bias is None or self.gain is None:
            return self.bias
        return self.bias * self.gain[:, None]


@dataclass(frozen=True)
class Masks:
    """The terms of every group's scores.

    Args:
        packing: layout of the batch.
        pattern: who may see whom, unless the edges say so.
        slopes: ALiBi's slope of each head, (H,), or None.
        terms: what the edges do, or None.
        like: a tensor of the scores' type and device.
    """

    packing: Packing
    pattern: Pattern
    slopes: Tensor | None
    terms: EdgeTerms | None
    like: Tensor

    @property
    def sees_edges_only(self) -> bool:
        """Whether a query sees only along edges."""
        return self.terms is not None and self.terms.is_pattern

    @property
    def may_hide_all(self) -> bool:
        """Whether a query may see nothing, so that a plain softmax would not do."""
        if self.terms is None:
            return False
        return self.sees_edges_only or self.terms.multiplier is not None

    def visible(self, number: int) -> Tensor | None:
        """Return who is seen in a group. Shape: (b or 1, 1, L, L) bool, or None for everyone."""
        if self.terms is not None and self.terms.is_pattern:
            return self.terms.edges.adjacency[number]
        group = self.packing.groups[number]
        steps = torch.arange(group.length, device=self.like.device)
        distance = steps[None, :] - steps[:, None]  # (L, L), key minus query
        seen = None if self.pattern.is_full else self.pattern.allows(distance)[None, None]
        if group.is_full:
            return seen
        padding = padding_of(self.packing, group, self._starts[number])[:, None, None]
        # Slots of padding see themselves, so that no row is empty; their output is never read.
        real = ~padding | (distance == 0)  # (b, 1, L, L)
        return real if seen is None else seen & real

    def added(self, number: int) -> Tensor | None:
        """Return what is added to a group's scores. Shape: (b or 1, H, L, L), or None."""
        bias = None if self._biases is None else self._biases[number]
        if self.slopes is None:
            return bias
        penalty = self._alibi(number, self.slopes.to(self.like))
        return penalty if bias is None else penalty + bias

    def multiplier(self, number: int) -> Tensor | None:
        """Return what a group's weights are multiplied by. Shape: (b, H, L, L), or None."""
        return None if self._multipliers is None else self._multipliers[number]

    def bias(self, number: int) -> Tensor | None:
        """Return what is added to a group's scores, minus infinity where nothing is seen."""
        return self._hide(self.visible(number), self.added(number))

    def fixed_biases(self, spans: Sequence[Span]) -> list[Tensor | None]:
        """Return the same for sequences of a group, without the edges' bias.

        Where the edges hide a whole row, it sees itself.

        Shape:
            returns: (c or 1, H or 1, L, L) for each span, or None.
        """
        groups = [self._fixed_bias(number) for number in range(len(self.packing.groups))]
        found = []
        for span in spans:
            bias = groups[span.group]
            if bias is not None and len(bias) > 1:
                bias = bias[span.first : span.first + span.size]
            found.append(bias)
        return found

    def blind_rows(self, heads: int) -> Tensor:
        """Return the rows (b, H, L) whose output is nothing. Shape: (N,) int64."""
        if self.terms is not None and self.terms.is_pattern:
            return self.terms.edges.blind_rows(heads)
        return HeadRows.of(self.packing, heads).padding

    def _fixed_bias(self, number: int) -> Tensor | None:
        """Return what is added to a group's scores and learns nothing, or None."""
        penalty = None if self.slopes is None else self._alibi(number, self.slopes.to(self.like))
        if self.terms is not None and self.terms.is_pattern:
            hidden = self.terms.edges.hiding(self.like.dtype)[number]
            return hidden if penalty is None else hidden + penalty
        if penalty is not None or not self.pattern.is_full:
            return self._hide(self.visible(number), penalty)
        key = ("padding_bias", number, self.like.dtype)
        return self.packing.once(key, lambda: self._hide(self.visible(number), None))

    def _hide(self, visible: Tensor | None, added: Tensor | None) -> Tensor | None:
        if visible is None:
            return added
        zero = torch.zeros((), dtype=self.like.dtype, device=self.like.device)
        return torch.where(visible, zero if added is None else added, -torch.inf)

    @cached_property
    def _starts(self) -> list[int]:
        return slot_starts(self.packing)

    @cached_property
    def _biases(self) -> list[Tensor] | None:
        terms = self.terms
        bias = None if terms is None else terms.scaled_bias
        return None if terms is None or bias is None else terms.edges.dense(bias, 0.0)

    @cached_property
    def _multipliers(self) -> list[Tensor] | None:
        terms = self.terms
        if terms is None or terms.multiplier is None:
            return None
        return terms.edges.dense(terms.multiplier, 0.0)

    def _alibi(self, number: int, slopes: Tensor) -> Tensor:
        group, start = self.packing.groups[number], self._starts[number]
        own = torch.arange(group.length, device=slopes.device)[None]
        if not self.packing.in_order:
            rows = self.packing.padded_rows[start : start + group.size * group.length]
            own = self.packing.positions[rows].view(group.size, group.length)
        gap = (own[:, None, :] - own[:, :, None]).abs()[:, None]  # (b or 1, 1, L, L)
        return -gap.to(slopes.dtype) * slopes[:, None, None]
