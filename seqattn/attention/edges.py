"""The edges of a batch as kernels read them: self-loops added, sorted, or as slots of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, score_rows
from seqattn.attention.reference import keep_finite
from seqattn.packing import Packing


@dataclass(frozen=True)
class EdgeList:
    """Directed edges of a packed batch, in its order; the target reads the source.

    Args:
        source: position that is read. Shape: (E',) int64.
        target: position that reads. Shape: (E',) int64.
        added: how many self-loops were added; they come last.
        self_loops: whether every position has one.
        packing: layout of the batch.
    """

    source: Tensor
    target: Tensor
    added: int
    self_loops: bool
    packing: Packing

    @classmethod
    def from_index(cls, edge_index: Tensor, packing: Packing, *, self_loops: bool) -> EdgeList:
        """Return the edges of a batch, with a self-loop at each position that has none.

        Shape:
            edge_index: (2, E).

        Raises:
            ValueError: if `edge_index` is not int64, or an edge names no position, leaves its
                sequence or comes twice (these three are looked for on a CPU only).
        """
        _check_index(edge_index, packing)
        source, target = edge_index
        count = source.shape[0]
        if self_loops:
            loops = _missing_loops(source, target, packing.total)
            if loops.shape[0]:
                source, target = torch.cat([source, loops]), torch.cat([target, loops])
        edges = cls(source, target, source.shape[0] - count, self_loops, packing)
        if source.device.type == "cpu" and not edges._are_unique():
            raise ValueError(
                "edge_index must hold every directed edge once, got one twice: "
                "sum duplicates with seqattn.edges.merge_duplicate_edges"
            )
        return edges

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
        if weight.dim() == 2:
            return weight.T
        return keep_finite(weight).expand(heads, -1)  # whose gradient is the sum over the heads

    @cached_property
    def by_source(self) -> Tensor:
        """The edges ordered by source, else as they come. Shape: (E',) int64."""
        return _stable_order(self.source, self.packing.total)

    @cached_property
    def by_target(self) -> Tensor:
        """The edges ordered by target, then by source. Shape: (E',) int64."""
        targets = self.target.index_select(0, self.by_source)
        return self.by_source.index_select(0, _stable_order(targets, self.packing.total))

    @cached_property
    def block_slots(self) -> Tensor:
        """Place of each edge in the padded (L, L) matrices of all groups. Shape: (E',) int64.

        A matrix has a row per target and a column per source.
        """
        packing = self.packing
        starts, _ = packing.once("score_rows", lambda: score_rows(packing))
        first = packing.offsets.index_select(0, packing.sequence_ids)
        rows = starts.index_select(0, packing.packed_rows) - first  # (T,)
        return rows.index_select(0, self.target).add_(self.source)

    def lay_out(self, terms: Tensor, fill: float) -> Tensor:
        """Return a term of the edges in the matrices of all sequences, end to end.

        Shape:
            terms (H or 1, E'). returns: (H or 1, N), for each group (b, L, L) flat; `fill` where
            there is no edge.
        """
        out: Tensor = _LaidOut.apply(terms, self.block_slots, self._area, fill)
        return out

    def dense(self, terms: Tensor, fill: float) -> list[Tensor]:
        """Return a term of the edges as a matrix per sequence and head, `fill` off the edges.

        Shape:
            terms (H or 1, E'). returns: for each group of the layout (b, H or 1, L, L).
        """
        return self._split(self.lay_out(terms, fill))

    @cached_property
    def adjacency(self) -> list[Tensor]:
        """Which source each target sees. Shape: for each group (b, 1, L, L) bool."""
        seen = torch.ones(1, len(self), dtype=torch.bool, device=self.source.device)
        return self.dense(seen, False)

    def hiding(self, dtype: torch.dtype) -> list[Tensor]:
        """Return 0 at the edges and minus infinity elsewhere, made once per dtype.

        A row without edges, padding among them, sees itself, so that no row is empty.

        Shape:
            returns: for each group (b, 1, L, L).
        """
        kept: dict[torch.dtype, list[Tensor]] = self.__dict__.setdefault("_hiding", {})
        if dtype not in kept:
            packing = self.packing
            zero = torch.zeros(1, 1, dtype=dtype, device=self.source.device)
            hidden = self.lay_out(zero.expand(1, len(self)), -torch.inf)
            _, diagonal = packing.once("score_rows", lambda: score_rows(packing))
            hidden[0].index_fill_(0, diagonal.index_select(0, self._blind_slots), 0.0)
            kept[dtype] = self._split(hidden)
        return kept[dtype]

    def blind_rows(self, heads: int) -> Tensor:
        """Return the rows (b, H, L) of all groups at which no edge ends. Shape: (N,) int64."""
        rows = HeadRows.of(self.packing, heads)
        if self.self_loops:
            return rows.padding
        lonely = rows.packed.view(-1, heads).index_select(0, self._lonely).flatten()
        return torch.cat([rows.padding, lonely])

    def rows(self, heads: int) -> SparseRows:
        """Return the edges of all heads as a sparse matrix, made once per head count."""
        kept: dict[int, SparseRows] = self.__dict__.setdefault("_rows", {})
        if heads not in kept:
            kept[heads] = SparseRows.from_edges(self, heads)
        return kept[heads]

    @property
    def _area(self) -> int:
        """How many entries the matrices of all sequences have."""
        return sum(group.size * group.length**2 for group in self.packing.groups)

    @cached_property
    def _lonely(self) -> Tensor:
        """The positions at which no edge ends; waits for their device. Shape: (N,) int64."""
        is_lonely = torch.ones(self.packing.total, dtype=torch.bool, device=self.source.device)
        return is_lonely.index_fill_(0, self.target, False).nonzero().flatten()

    @property
    def _blind_slots(self) -> Tensor:
        """The slots (b, L) of all groups at which no edge ends. Shape: (N,) int64."""
        packing = self.packing
        padding = HeadRows.of(packing, 1).padding
        if self.self_loops:
            return padding
        return torch.cat([padding, packing.packed_rows.index_select(0, self._lonely)])

    def _split(self, flat: Tensor) -> list[Tensor]:
        """Return the matrices of each group. Shape: (H or 1, N). returns: (b, H or 1, L, L)."""
        groups = self.packing.groups
        parts = torch.split(flat, [group.size * group.length**2 for group in groups], dim=1)
        return [
            part.reshape(-1, group.size, group.length, group.length).transpose(0, 1)
            for part, group in zip(parts, groups, strict=True)
        ]

    def _are_unique(self) -> bool:
        """Return whether the batch's own edges come once each; waits for their device."""
        count, total = len(self) - self.added, self.packing.total
        source, target = self.source[:count], self.target[:count]
        # Sorted by source, as PyG's coalesce leaves them, or by target, they need no sorting.
        for first, second in ((source, target), (target, source)):
            if _is_rising(torch.add(second, first, alpha=total)):
                return True
        ranks = torch.add(self.source, self.target, alpha=total)
        return _is_rising(ranks.index_select(0, self.by_target))


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
        """Sort the edges by target and by source."""
        total = edges.packing.total
        source, target = edges.source, edges.target
        starts, places = _lay_rows(target, edges.by_target, total, heads)
        flipped_starts, flipped = _lay_rows(source, edges.by_source, total, heads)
        order = _inverse(places)
        flipped_order = places.index_select(0, _inverse(flipped))
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


def _lay_rows(index: Tensor, by_row: Tensor, total: int, heads: int) -> tuple[Tensor, Tensor]:
    """Return the first entry of every row (T, H), and the entry of every edge and head.

    Shape:
        index, the row of each edge, and by_row, the edges ordered by it: (E',).
        returns: (H T + 1,), (H E',).
    """
    device = index.device
    counts = torch.zeros(total, dtype=torch.int64, device=device)
    counts.index_add_(0, index, torch.ones_like(index))
    starts = torch.zeros(heads * total + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts.repeat_interleave(heads), 0, out=starts[1:])
    # Before row (t, 0) lie the H entries of every earlier edge: (starts[t, 0] = H * first edge).
    first = starts[:-1].view(total, heads) - (counts.cumsum(0) - counts)[:, None]  # (T, H)
    return starts, (first.index_select(0, index) + _inverse(by_row)[:, None]).T.flatten()


def _inverse(permutation: Tensor) -> Tensor:
    inverse = torch.empty_like(permutation)
    numbers = torch.arange(len(permutation), device=permutation.device)
    return inverse.scatter_(0, permutation, numbers)


class _LaidOut(torch.autograd.Function):
    """Terms written into their places; the gradient is read there."""

    @staticmethod
    def forward(ctx: Any, terms: Tensor, slots: Tensor, size: int, fill: float) -> Tensor:
        ctx.slots = slots
        where = slots.expand(terms.shape[0], -1)
        return terms.new_full((terms.shape[0], size), fill).scatter_(1, where, terms)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad.gather(1, ctx.slots.expand(grad.shape[0], -1)), None, None, None


def _missing_loops(source: Tensor, target: Tensor, total: int) -> Tensor:
    """Return the positions without a self-loop; waits for their device. Shape: (N,) int64."""
    lacks = torch.ones(total, dtype=torch.bool, device=source.device)
    lacks.index_fill_(0, target.masked_select(source == target), False)
    return lacks.nonzero().flatten()


def _check_index(index: Tensor, packing: Packing) -> None:
    """Check that edges join positions of one sequence; their values on a CPU only.

    Raises:
        ValueError: if they do not.
    """
    if index.dtype != torch.int64:
        raise ValueError(f"edge_index must be int64, got {index.dtype}")
    if index.device.type != "cpu" or not index.numel():
        return
    numbers = index.numpy()  # whose extrema are several times faster than torch's
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most >= packing.total:
        raise ValueError(
            f"edge_index must name positions in 0 … {packing.total - 1}, got {least} … {most}"
        )
    if len(packing) == 1:
        return
    source, target = (packing.sequence_ids.index_select(0, side) for side in index)
    if not torch.equal(source, target):
        edge = int((source != target).nonzero()[0])
        raise ValueError(
            "edge_index must join positions of one sequence, "
            f"got edge {edge} from {int(index[0, edge])} to {int(index[1, edge])}, "
            f"in sequences {int(source[edge])} and {int(target[edge])}"
        )


def _is_rising(ranks: Tensor) -> bool:
    return bool((ranks[1:] > ranks[:-1]).all())


def _stable_order(index: Tensor, bound: int) -> Tensor:
    """Return the stable order of whole numbers below `bound`. Shape: (E',) int64, both."""
    if index.device.type == "cpu" and bound <= 2**16:  # numpy sorts two bytes digit by digit
        return torch.from_numpy(index.numpy().astype(np.uint16).argsort(kind="stable"))
    return index.int().argsort(stable=True)
