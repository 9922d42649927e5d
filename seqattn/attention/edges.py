"""The edges of a batch as kernels read them: self-loops added, sorted, or as slots of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, score_rows
from seqattn.packing import Packing


@dataclass(frozen=True)
class EdgeList:
    """Directed edges of a packed batch, sorted by target, then source; the target reads the source.

    Args:
        source: position that is read. Shape: (E',) int64.
        target: position that reads. Shape: (E',) int64.
        order: which of the batch's edges each is; E and more for added self-loops.
            Shape: (E',) int64.
        added: how many self-loops were added.
        packing: layout of the batch.
    """

    source: Tensor
    target: Tensor
    order: Tensor
    added: int
    packing: Packing

    @classmethod
    def from_index(cls, edge_index: Tensor, packing: Packing, *, self_loops: bool) -> EdgeList:
        """Return the edges of a batch, with a self-loop at each position that has none.

        Shape:
            edge_index: (2, E).

        Raises:
            ValueError: if an edge comes twice (looked for on a CPU only).
        """
        source, target = edge_index
        count = source.shape[0]
        if self_loops:
            lacks = torch.ones(packing.total, dtype=torch.bool, device=source.device)
            lacks[target[source == target]] = False
            loops = lacks.nonzero().flatten()
            source, target = torch.cat([source, loops]), torch.cat([target, loops])
        added = source.shape[0] - count
        ranks = target * packing.total + source
        on_host = ranks.device.type == "cpu"
        if on_host and bool((ranks[1:] > ranks[:-1]).all()):  # sorted and unique
            order = torch.arange(len(ranks))
            return cls(source, target, order, added, packing)
        # Half as many bytes sort nearly twice as fast.
        ranks, order = (ranks.int() if packing.total**2 < 2**31 else ranks).sort()
        if on_host and bool((ranks[1:] == ranks[:-1]).any()):
            raise ValueError(
                "edge_index must hold every directed edge once, got one twice: "
                "sum duplicates with seqattn.edges.merge_duplicate_edges"
            )
        return cls(
            source.index_select(0, order), target.index_select(0, order), order, added, packing
        )

    def __len__(self) -> int:
        """Return E', added self-loops included."""
        return self.source.shape[0]

    def spread(self, weight: Tensor, heads: int, *, loop: float) -> Tensor:
        """Return the weight of every edge for every head; `loop` for added self-loops.

        Shape:
            weight (E,) or (E, H). returns: (H, E').
        """
        if self.added:
            added = weight.new_full((self.added, *weight.shape[1:]), loop)
            weight = torch.cat([weight, added])
        weight = weight.index_select(0, self.order)
        return weight[None].expand(heads, -1) if weight.dim() == 1 else weight.T

    @cached_property
    def block_slots(self) -> Tensor:
        """Place of each edge in the padded (L, L) matrices of all groups. Shape: (E',) int64.

        A matrix has a row per target and a column per source.
        """
        packing = self.packing
        starts = packing.once("block_row_starts", lambda: score_rows(packing, 1)[0])
        first = packing.offsets.index_select(0, packing.sequence_ids)
        rows = starts.index_select(0, packing.packed_rows) - first  # (T,)
        return rows.index_select(0, self.target) + self.source

    def dense(self, terms: Tensor, fill: float) -> list[Tensor]:
        """Return a term of the edges as a matrix per sequence and head, `fill` off the edges.

        Shape:
            terms (H or 1, E'). returns: for each group of the layout (b, H or 1, L, L).
        """
        groups = self.packing.groups
        sizes = [group.size * group.length**2 for group in groups]
        dense = terms.new_full((terms.shape[0], sum(sizes)), fill)
        dense = dense.index_copy(1, self.block_slots, terms)
        return [
            part.reshape(terms.shape[0], group.size, group.length, group.length).transpose(0, 1)
            for part, group in zip(torch.split(dense, sizes, dim=1), groups, strict=True)
        ]

    @cached_property
    def adjacency(self) -> list[Tensor]:
        """Which source each target sees. Shape: for each group (b, 1, L, L) bool."""
        seen = torch.ones(1, len(self), dtype=torch.bool, device=self.source.device)
        return self.dense(seen, False)

    def rows(self, heads: int) -> SparseRows:
        """Return the edges of all heads as a sparse matrix, made once per head count."""
        kept: dict[int, SparseRows] = self.__dict__.setdefault("_rows", {})
        if heads not in kept:
            kept[heads] = SparseRows.from_edges(self, heads)
        return kept[heads]

    def places(self, heads: int) -> EdgePlaces:
        """Return where the edges lie in blocks of scores, made once per head count."""
        kept: dict[int, EdgePlaces] = self.__dict__.setdefault("_places", {})
        if heads not in kept:
            kept[heads] = EdgePlaces.from_edges(self, heads)
        return kept[heads]


@dataclass(frozen=True)
class EdgePlaces:
    """Where the edges of every head lie in the scores (b, H, L, L) of all groups, end to end.

    Args:
        slots: entry of each edge. Shape: (H E',) int64, flat in the order of (H, E').
        blind_rows: rows (b, H, L) at which no edge ends, padding among them. Shape: (N,) int64.
        blind_slots: the diagonal entry of each of them. Shape: (N,) int64.
        size: how many entries there are.
    """

    slots: Tensor
    blind_rows: Tensor
    blind_slots: Tensor
    size: int

    @classmethod
    def from_edges(cls, edges: EdgeList, heads: int) -> EdgePlaces:
        """Look for the edges; waits for the device that holds them."""
        packing, rows = edges.packing, HeadRows.of(edges.packing, heads)
        starts, diagonal = packing.once(("score_rows", heads), lambda: score_rows(packing, heads))
        first = packing.offsets.index_select(0, packing.sequence_ids)  # (T,)
        begin = starts.index_select(0, rows.packed).view(-1, heads).T - first  # (H, T)
        slots = begin.index_select(1, edges.target) + edges.source  # (H, E')
        is_blind = torch.ones_like(first, dtype=torch.bool).index_fill_(0, edges.target, False)
        lonely = rows.packed.view(-1, heads)[is_blind].flatten()
        blind = torch.cat([rows.padding, lonely])
        return cls(
            slots=slots.flatten(),
            blind_rows=blind,
            blind_slots=diagonal.index_select(0, blind),
            size=sum(heads * group.size * group.length**2 for group in packing.groups),
        )

    def fill(self, terms: Tensor | None, off: float, dtype: torch.dtype) -> Tensor:
        """Return scores that hold the terms of the edges, 0 without terms, and `off` elsewhere.

        Where `off` hides a whole row, it sees itself, so that no row is empty.

        Shape:
            terms (H, E'). returns: (N,).
        """
        scores = torch.full((self.size,), off, dtype=dtype, device=self.slots.device)
        if terms is None:
            scores.index_fill_(0, self.slots, 0.0)
        else:
            scores.scatter_(0, self.slots, terms.to(dtype).flatten())
        if off:
            scores.index_fill_(0, self.blind_slots, 0.0)
        return scores


@dataclass(frozen=True)
class SparseRows:
    """The edges of every head as one sparse matrix in compressed row form.

    Row t H + h holds what head h of target t reads, column s H + h is head h of source s, so that
    packed tensors (T, H, K) are its rows as they lie. N = H E' entries.

    Args:
        starts: first entry of each row, and N. Shape: (H T + 1,) int64.
        columns: column of each entry. Shape: (N,) int64.
        rows: row of each entry. Shape: (N,) int64.
        places: entry of each edge for each head. Shape: (H E',) int64, flat in the order of
            (H, E').
        order: the inverse of `places`. Shape: (N,) int64.
        flipped_starts: as `starts`, of the transposed matrix.
        flipped_columns: as `columns`, of the transposed matrix.
        flipped_order: the entry of this matrix that each entry of the transposed one is.
    """

    starts: Tensor
    columns: Tensor
    rows: Tensor
    places: Tensor
    order: Tensor
    flipped_starts: Tensor
    flipped_columns: Tensor
    flipped_order: Tensor

    @classmethod
    def from_edges(cls, edges: EdgeList, heads: int) -> SparseRows:
        """Sort the edges by source too."""
        total = edges.packing.total
        source, target = edges.source, edges.target
        by_source = source.int().argsort(stable=True)
        starts, places = _lay_rows(target, total, heads)
        flipped_starts, flipped = _lay_rows(source.index_select(0, by_source), total, heads)
        order = _inverse(places)
        own = places.view(heads, -1).index_select(1, by_source).flatten()
        flipped_order = own.index_select(0, _inverse(flipped))
        columns = _per_head(source, heads).index_select(0, order)
        rows = _per_head(target, heads).index_select(0, order)
        return cls(
            starts=starts,
            columns=columns,
            rows=rows,
            places=places,
            order=order,
            flipped_starts=flipped_starts,
            flipped_columns=rows.index_select(0, flipped_order),
            flipped_order=flipped_order,
        )

    def arrange(self, terms: Tensor) -> Tensor:
        """Return a term of every edge and head as entries. Shape: (H, E'). returns: (N,)."""
        out: Tensor = _Rearranged.apply(terms, self.order, self.places)
        return out


class _Rearranged(torch.autograd.Function):
    """A permutation, whose gradient is its inverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse, ctx.shape = inverse, x.shape
        return x.flatten().index_select(0, order)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, ctx.inverse).view(ctx.shape), None, None


def _per_head(index: Tensor, heads: int) -> Tensor:
    """Return the row of every head of a position. Shape: (E',). returns: (H E',)."""
    return (index * heads + torch.arange(heads, device=index.device)[:, None]).flatten()


def _lay_rows(sorted_rows: Tensor, total: int, heads: int) -> tuple[Tensor, Tensor]:
    """Return the first entry of every row (T, H), and the entry of every edge and head."""
    device = sorted_rows.device
    counts = torch.zeros(total, dtype=torch.int64, device=device)
    counts.index_add_(0, sorted_rows, torch.ones_like(sorted_rows))
    starts = torch.zeros(heads * total + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts.repeat_interleave(heads), 0, out=starts[1:])
    # Before row (t, 0) lie the H entries of every earlier edge: (starts[t, 0] = H * first edge).
    first = starts[:-1].view(total, heads) - (counts.cumsum(0) - counts)[:, None]  # (T, H)
    edges = torch.arange(sorted_rows.shape[0], device=device)
    return starts, (first.T.index_select(1, sorted_rows) + edges).flatten()


def _inverse(permutation: Tensor) -> Tensor:
    inverse = torch.empty_like(permutation)
    numbers = torch.arange(len(permutation), device=permutation.device)
    return inverse.scatter_(0, permutation, numbers)
