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
        device = packing.offsets.device
        first, apart = (table.to(device) for table in _slots_of_heads(packing, heads))
        numbers = torch.arange(heads, device=device)

        def of_heads(slots: Tensor) -> Tensor:
            begin, step = first.index_select(0, slots), apart.index_select(0, slots)
            return torch.addcmul(begin[:, None], step[:, None], numbers).flatten()

        padding = packing.padded_rows[:0]
        if packing.has_padding:  # a stable sort finds it without waiting for the device
            order = packing.padding.to(torch.uint8).argsort(stable=True)
            padding = order[packing.total :]
        rows = rows_of_heads(packing, heads, heads)
        return cls(rows, of_heads(packing.packed_rows), of_heads(padding))


def _slots_of_heads(packing: Packing, heads: int) -> tuple[Tensor, Tensor]:
    """Return for each slot (b, L) that of its first head in (b, H, L), and its heads' distance.

    Shape:
        returns: (P,) int64 both, on the host.
    """
    first, apart, start = [], [], 0
    for group in packing.groups:
        step = torch.arange(group.length)
        begin = torch.arange(group.size)[:, None] * (heads * group.length) + start
        first.append((begin + step).flatten())
        apart.append(torch.full_like(first[-1], group.length))
        start += group.size * heads * group.length
    empty = torch.empty(0, dtype=torch.int64)
    return torch.cat([empty, *first]), torch.cat([empty, *apart])


def rows_of_heads(packing: Packing, heads: int, apart: int) -> Tensor:
    """Return the row of each slot of the blocks (b, H, L), from a table of rows (position, head).

    Args:
        packing: layout of the batch.
        heads: H.
        apart: rows from one position of the table to the next, H or more.

    Shape:
        returns: (P H,) int64.
    """
    begin = packing.padded_rows * apart
    numbers = torch.arange(heads, device=begin.device)[:, None]
    parts = begin.split([group.size * group.length for group in packing.groups])
    rows = [
        (part.view(group.size, 1, group.length) + numbers).flatten()
        for part, group in zip(parts, packing.groups, strict=True)
    ]
    return torch.cat([begin[:0], *rows])


def gather_rows(x: Tensor, packing: Packing) -> Tensor:
    """Return packed heads as rows of blocks, in one pass over the memory, without a gradient.

    Query, key and value are mostly slices of one projection: their rows are then read where they
    lie, in the table of all rows of K numbers.

    Shape:
        x (T, H, K). returns: (P H, K).
    """
    total, heads, width = x.shape
    step = x.stride(0)
    if x.is_contiguous() or step % max(width, 1) or x.stride()[1:] != (width, 1):
        return x.flatten(0, 1).index_select(0, HeadRows.of(packing, heads).rows)
    apart = step // width  # rows of the table from one position to the next
    table = x.as_strided(((total - 1) * apart + heads, width), (width, 1))
    key = ("table_rows", heads, apart)
    return table.index_select(0, packing.once(key, lambda: rows_of_heads(packing, heads, apart)))


def gather_parts(parts: Sequence[Tensor], packing: Packing) -> list[Tensor]:
    """Return packed heads as rows of blocks, all parts at once where they lie side by side.

    Shape:
        parts (T, H, K) each. returns: (n, P H, K) for all n of them, or (1, P H, K) for each.
    """
    total, heads, width = parts[0].shape
    joined = side_by_side(parts)
    if joined is None:
        return [gather_rows(part, packing)[None] for part in parts]
    count = len(parts)

    def find() -> Tensor:
        rows = rows_of_heads(packing, heads, count * heads)
        return torch.cat([rows + part * heads for part in range(count)])

    order = packing.once(("part_rows", heads, count), find)
    return [joined.view(-1, width).index_select(0, order).view(count, -1, width)]


def return_parts(stacks: Sequence[Tensor], packing: Packing, heads: int) -> list[Tensor]:
    """Return rows of blocks to their packed places, the parts of a stack side by side.

    Shape:
        stacks (n, P H, K). returns: (T, H, K) for each of all parts.
    """
    packed, parts = HeadRows.of(packing, heads).packed, []
    for stack in stacks:
        count, size, width = stack.shape

        def find(count: int = count, size: int = size) -> Tensor:
            begin = torch.arange(count, device=packed.device)[:, None] * size
            return (packed.view(-1, 1, heads) + begin).flatten()

        order = packing.once(("part_slots", heads, count), find)
        joined = stack.view(-1, width).index_select(0, order)
        parts += joined.view(-1, count * heads, width).split(heads, dim=1)
    return parts


def split_heads(x: Tensor, heads: int, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the parts of a projection, whose gradients are joined without a copy where possible.

    Shape:
        x (T, H * sum of widths). returns: (T, H, K) for each width K.
    """
    if len(set(widths)) == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling():
        out: tuple[Tensor, ...] = _Split.apply(x, heads, len(widths))
        return out
    parts = x.split([heads * width for width in widths], dim=-1)
    return tuple(part.unflatten(-1, (heads, -1)) for part in parts)


def side_by_side(parts: Sequence[Tensor]) -> Tensor | None:
    """Return the tensor whose slices the parts are, without a copy; None if there is none.

    Shape:
        parts (T, H, K) each. returns: (T, n H, K).
    """
    first, count = parts[0], len(parts)
    total, heads, width = first.shape
    strides, start = (count * heads * width, width, 1), first.storage_offset()
    for number, part in enumerate(parts):
        lies_there = part.storage_offset() == start + number * heads * width
        if part.shape != first.shape or part.stride() != strides or not lies_there:
            return None
        if part.untyped_storage().data_ptr() != first.untyped_storage().data_ptr():
            return None
    return first.as_strided((total, count * heads, width), strides)


def split_blocks(x: Tensor, packing: Packing, heads: int) -> list[Tensor]:
    """Return the block of each group. Shape: (P H, K). returns: of (b, H, L, K)."""
    parts = torch.split(x, [group.size * group.length * heads for group in packing.groups])
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


def score_rows(packing: Packing) -> tuple[Tensor, Tensor]:
    """Return where each row (b, L) of the matrices (b, L, L) of all groups begins.

    Shape:
        returns: the first and the diagonal entry of each row, (P,) int64 both.
    """
    starts, diagonal, total = [], [], 0
    for group in packing.groups:
        rows = torch.arange(group.size * group.length)
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


class _Split(torch.autograd.Function):
    """Slices (T, H, K) of a projection (T, n H K)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, heads: int, count: int) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = x.unflatten(1, (count * heads, -1)).split(heads, dim=1)
        return parts

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        joined = None if torch.is_grad_enabled() else side_by_side(grads)
        if joined is None:
            joined = torch.cat(grads, dim=1)
        return joined.flatten(1), None, None


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
