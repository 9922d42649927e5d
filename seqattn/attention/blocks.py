"""Padded blocks: sequences of similar length laid out head by head, for batched products."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqattn.packing import LengthGroup, Packing


@dataclass(frozen=True)
class HeadRows:
    """Where the rows (position, head) of packed tensors lie in the blocks (b, H, L) of all groups.

    Args:
        rows: row of each slot; padding holds the first of its sequence. Shape: (P H,) int64.
        packed: slot of each row. Shape: (T H,) int64.
        padding: the slots of padding. Shape: (P H - T H,) int64.
    """

    rows: Tensor
    packed: Tensor
    padding: Tensor

    @classmethod
    def of(cls, packing: Packing, heads: int) -> HeadRows:
        """Return the rows for H heads, made once per batch."""
        return packing.once(("head_rows", heads), lambda: cls._make(packing, heads))

    @classmethod
    def _make(cls, packing: Packing, heads: int) -> HeadRows:
        order = [torch.empty(0, dtype=torch.int64)]  # slot (b, L) and head of each (b, H, L)
        start = 0
        for group in packing.groups:
            rows = group.size * group.length
            slots = torch.arange(rows).view(group.size, 1, group.length) + start
            order.append((slots * heads + torch.arange(heads)[:, None]).flatten())
            start += rows
        place = torch.cat(order).to(packing.offsets.device)  # (P H,)
        numbers = torch.arange(heads, device=place.device)
        positions = (packing.padded_rows[:, None] * heads + numbers).flatten()[place]
        inverse = torch.empty_like(place)
        inverse[place] = torch.arange(place.shape[0], device=place.device)
        packed = inverse.view(-1, heads)[packing.packed_rows].flatten()
        is_padding = packing.padding[:, None].expand(-1, heads).flatten()[place]
        count = place.shape[0] - packed.shape[0]
        # A stable sort finds the slots of padding without waiting for the device.
        padding = is_padding.to(torch.uint8).argsort(stable=True)[place.shape[0] - count :]
        return cls(positions, packed, padding)


def gather_rows(x: Tensor, packing: Packing) -> Tensor:
    """Return packed heads as rows of blocks, in one pass over the memory, without a gradient.

    Query, key and value are mostly slices of one projection: their rows are then read where they
    lie, in the table of all rows of K numbers.

    Shape:
        x (T, H, K). returns: (P H, K).
    """
    total, heads, width = x.shape
    rows = HeadRows.of(packing, heads).rows
    step = x.stride(0)
    if x.is_contiguous() or step % max(width, 1) or x.stride()[1:] != (width, 1):
        return x.flatten(0, 1).index_select(0, rows)
    apart = step // width  # rows of the table from one position to the next
    table = x.as_strided(((total - 1) * apart + heads, width), (width, 1))

    def find() -> Tensor:
        return rows // heads * apart + rows % heads

    return table.index_select(0, packing.once(("table_rows", heads, apart), find))


def block_sizes(packing: Packing, heads: int) -> list[int]:
    """Return how many rows (b H L) the block of each group has."""
    return [group.size * group.length * heads for group in packing.groups]


def split_blocks(x: Tensor, packing: Packing, heads: int) -> list[Tensor]:
    """Return the block of each group. Shape: (P H, K). returns: of (b, H, L, K)."""
    parts = torch.split(x, block_sizes(packing, heads))
    return [
        part.view(group.size, heads, group.length, x.shape[1])
        for part, group in zip(parts, packing.groups, strict=True)
    ]


def to_blocks(x: Tensor, packing: Packing) -> Tensor:
    """Return packed rows as rows of blocks. Shape: (T, H, K). returns: (P H, K)."""
    out: Tensor = _Pad.apply(x, HeadRows.of(packing, x.shape[1]))
    return out


def from_blocks(blocks: Sequence[Tensor], packing: Packing, heads: int) -> Tensor:
    """Return blocks (b, H, L, K) to their packed places. Shape: returns: (T, H, K)."""
    joined = torch.cat([block.flatten(0, 2) for block in blocks])
    out: Tensor = _Unpad.apply(joined, HeadRows.of(packing, heads))
    return out.view(packing.total, heads, out.shape[1])


def score_rows(packing: Packing, heads: int) -> tuple[Tensor, Tensor]:
    """Return where each row (b, H, L) of the scores (b, H, L, L) of all groups begins.

    Shape:
        returns: the first and the diagonal entry of each row, (P H,) int64 both.
    """
    starts, diagonal, total = [], [], 0
    for group in packing.groups:
        rows = torch.arange(group.size * heads * group.length)
        starts.append(rows * group.length + total)
        diagonal.append(starts[-1] + rows % group.length)
        total += len(rows) * group.length
    empty, device = torch.empty(0, dtype=torch.int64), packing.offsets.device
    return torch.cat([empty, *starts]).to(device), torch.cat([empty, *diagonal]).to(device)


def slot_starts(packing: Packing) -> list[int]:
    """Return the first slot (b L) of each group."""
    sizes = [group.size * group.length for group in packing.groups]
    return list(itertools.accumulate(sizes, initial=0))[:-1]


def padding_of(packing: Packing, group: LengthGroup, start: int) -> Tensor:
    """Return which slots of a group are padding. Shape: (b, L) bool."""
    return packing.padding[start : start + group.size * group.length].view(group.size, group.length)


class _Pad(torch.autograd.Function):
    """Packed rows into the padded blocks; padding is masked and sends no gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: HeadRows) -> Tensor:
        ctx.rows, ctx.shape = rows, x.shape
        return x.flatten(0, 1).index_select(0, rows.rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.rows.packed).view(ctx.shape), None


class _Unpad(torch.autograd.Function):
    """Rows of the padded blocks back to their packed places; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: HeadRows) -> Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.packed)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        padded = grad.index_select(0, ctx.rows.rows)
        return padded.index_fill_(0, ctx.rows.padding, 0.0), None
