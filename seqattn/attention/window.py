"""The block kernel of windows: time and memory grow with the length times the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Window
from seqattn.attention.reference import attend
from seqattn.packing import Packing

# Blocks shorter than this spend more on overhead than they save on halo.
_MIN_BLOCK = 16
# Sequences of at most one block are padded to it, and go to the padded kernel where that takes
# more scores of a head than this and than the blocks of the others.
_SPARE_SCORES = 2**16


@dataclass(frozen=True)
class WindowPlan:
    """How the kernel computes a batch, in numbers on the host.

    Args:
        window: the pattern, cut to what the longest sequence has.
        size: positions of a block, C.
        pads_short: whether sequences of at most C positions are left to the padded kernel.
        scores: how many scores of each head are computed.
    """

    window: Window
    size: int
    pads_short: bool
    scores: int

    @classmethod
    def of(cls, packing: Packing, window: Window) -> WindowPlan:
        """Return the plan of a batch, made once."""
        key = ("window_plan", window.left, window.right)
        return packing.once(key, lambda: cls._make(packing, window))

    @classmethod
    def _make(cls, packing: Packing, window: Window) -> WindowPlan:
        window = _cut(window, packing.max_length)
        size = max(window.left, window.right, _MIN_BLOCK)
        lengths = np.array(packing.lengths, dtype=np.int64)
        is_short = lengths <= size
        blocks = (lengths + size - 1) // size * (size * (window.left + size + window.right))
        short, long = int(blocks[is_short].sum()), int(blocks[~is_short].sum())
        pads_short = short > max(long, _SPARE_SCORES)
        own = int((lengths[is_short] ** 2).sum()) if pads_short else short
        return cls(window, size, pads_short, own + long)


@dataclass(frozen=True)
class BlockLayout:
    """The sequences cut into blocks of C positions; a block reads itself and its neighbours.

    Args:
        rows: position in each slot; padding holds the sequence's first. Shape: (n C,) int64.
        packed: slot of each position. Shape: (T,) int64.
        visible: what the queries of a block see: `left` slots before it, itself, `right` after.
            Shape: (n, C, left + C + right) bool.
        size: C.
    """

    rows: Tensor
    packed: Tensor
    visible: Tensor
    size: int

    @classmethod
    def make(cls, packing: Packing, window: Window, size: int) -> BlockLayout:
        """Cut every sequence into blocks of `size` positions, on the host."""
        lengths = torch.tensor(packing.lengths, dtype=torch.int64)
        counts = (lengths + size - 1) // size
        owner = torch.arange(len(lengths)).repeat_interleave(counts)  # (n,)
        first = counts.cumsum(0) - counts
        begin = (torch.arange(len(owner)) - first[owner]) * size  # (n,), in its sequence
        own = lengths[owner]
        offsets = (lengths.cumsum(0) - lengths)[owner]
        steps = begin[:, None] + torch.arange(size)  # (n, C)
        real = steps < own[:, None]
        rows = offsets[:, None] + steps.masked_fill(~real, 0)
        packed = torch.empty(packing.total, dtype=torch.int64)
        packed[rows[real]] = real.flatten().nonzero().flatten()
        offset = torch.arange(-window.left, size + window.right)
        distance = offset - torch.arange(size)[:, None]  # (C, left + C + right)
        read = begin[:, None] + offset
        inside = (read >= 0) & (read < own[:, None])  # (n, left + C + right)
        # Slots of padding see themselves, so that no row is empty; their output is never read.
        visible = (inside[:, None] & window.allows(distance)) | (distance == 0)
        device = packing.offsets.device
        return cls(rows.flatten().to(device), packed.to(device), visible.to(device), size)


@dataclass(frozen=True)
class Parts:
    """The sequences of at most one block, and the others, packed apart.

    Args:
        short: layout of those of at most one block.
        long: layout of the others.
        short_rows: positions of the former. Shape: (T_short,) int64.
        long_rows: positions of the latter. Shape: (T_long,) int64.
        places: where each position lies once the short ones precede the long. Shape: (T,) int64.
    """

    short: Packing
    long: Packing
    short_rows: Tensor
    long_rows: Tensor
    places: Tensor

    @classmethod
    def make(cls, packing: Packing, size: int) -> Parts:
        """Part the sequences of at most `size` positions from the others, on the host."""
        lengths = np.array(packing.lengths, dtype=np.int64)
        is_short = lengths <= size
        of_short = is_short.repeat(lengths)
        numbers = [mask.nonzero()[0] for mask in (of_short, ~of_short)]
        places = np.empty(packing.total, dtype=np.int64)
        places[np.concatenate(numbers)] = np.arange(packing.total)
        device = packing.offsets.device
        short_rows, long_rows = (torch.from_numpy(part).to(device) for part in numbers)
        short, long = (
            _pack_part(packing, lengths[mask].tolist(), rows)
            for mask, rows in ((is_short, short_rows), (~is_short, long_rows))
        )
        return cls(short, long, short_rows, long_rows, torch.from_numpy(places).to(device))


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    *,
    pattern: Window,
    scale: float,
    slopes: Tensor | None = None,
    score_vector: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return what each position reads from its window; equals the reference with that mask.

    Queries in blocks of C positions, C the wider side of the window, read their own block and
    the neighbouring slots that the window reaches (Beltagy et al. 2020, Longformer, section 3.1).
    Many sequences shorter than C are left to the padded kernel.

    Shape:
        query, key (T, H, K); value (T, H, K_value); slopes (H,); score_vector (H, K).
        returns: (T, H, K_value).
    """
    if packing.total == 0:
        return value * query.sum(-1, keepdim=True) * key.sum(-1, keepdim=True)
    plan = WindowPlan.of(packing, pattern)
    if not plan.pads_short:
        return _attend_blocks(
            query, key, value, packing, plan, scale, slopes, score_vector, dropout
        )
    parts = packing.once(("window_parts", plan.size), lambda: Parts.make(packing, plan.size))
    q, k, v = (x.index_select(0, parts.short_rows) for x in (query, key, value))
    out = padded_attention(
        q,
        k,
        v,
        parts.short,
        pattern=plan.window,
        scale=scale,
        slopes=slopes,
        score_vector=score_vector,
        dropout=dropout,
    )
    if parts.long.total:
        q, k, v = (x.index_select(0, parts.long_rows) for x in (query, key, value))
        rest = _attend_blocks(q, k, v, parts.long, plan, scale, slopes, score_vector, dropout)
        out = torch.cat([out, rest])
    return out.index_select(0, parts.places)


def _attend_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    plan: WindowPlan,
    scale: float,
    slopes: Tensor | None,
    score_vector: Tensor | None,
    dropout: float,
) -> Tensor:
    """Return the same with every sequence cut into blocks."""
    pattern, size = plan.window, plan.size
    layout = packing.once(
        ("blocks", pattern.left, pattern.right, size),
        lambda: BlockLayout.make(packing, pattern, size),
    )
    blocks = _to_blocks(query, layout)  # (n, H, C, K)
    keys, values = (_with_neighbours(_to_blocks(x, layout), pattern) for x in (key, value))
    bias = None if slopes is None else _alibi(packing, layout, pattern, slopes.to(query))
    mask = layout.visible[:, None]  # (n, 1, C, left + C + right)
    out = _attend(blocks, keys, values, mask, bias, scale, score_vector, dropout)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, layout.packed)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    scale: float,
    score_vector: Tensor | None,
    dropout: float,
) -> Tensor:
    if score_vector is not None:
        _, weights = attend(
            query, key, value, score="additive", score_vector=score_vector, mask=mask, bias=bias
        )
    else:
        scores = (query * scale) @ key.transpose(-2, -1)
        if bias is not None:
            scores = scores + bias
        weights = scores.masked_fill_(~mask, -torch.inf).softmax(-1)
    return (F.dropout(weights, dropout) if dropout else weights) @ value


def _cut(window: Window, length: int) -> Window:
    """Return the window without what no sequence of at most this length has."""
    most = max(length - 1, 0)
    return Window(min(window.left, most), min(window.right, most))


def _pack_part(packing: Packing, lengths: list[int], rows: Tensor) -> Packing:
    part = Packing.from_lengths(lengths).to(rows.device)
    if packing.in_order:
        return part
    return part.with_positions(packing.positions.index_select(0, rows))


def _to_blocks(x: Tensor, layout: BlockLayout) -> Tensor:
    """Cut packed rows into blocks. Shape: (T, H, K). returns: (n, H, C, K)."""
    count = layout.rows.shape[0] // layout.size
    blocks = x.index_select(0, layout.rows).view(count, layout.size, *x.shape[1:])
    return blocks.transpose(1, 2)


def _with_neighbours(blocks: Tensor, window: Window) -> Tensor:
    """Add the slots before and after each block. Shape: returns (n, H, left + C + right, K)."""
    parts = [blocks]
    if window.left:
        before = blocks[:, :, blocks.shape[2] - window.left :].roll(1, 0)
        parts.insert(0, before)
    if window.right:
        parts.append(blocks[:, :, : window.right].roll(-1, 0))
    return torch.cat(parts, dim=2)


def _alibi(packing: Packing, layout: BlockLayout, window: Window, slopes: Tensor) -> Tensor:
    """Return ALiBi's penalty. Shape: (n, H, C, left + C + right)."""
    own = _to_blocks(packing.positions[:, None, None], layout)[:, 0]  # (n, C, 1)
    read = _with_neighbours(own[:, None], window)[:, 0]  # (n, left + C + right, 1)
    gap = (own - read.transpose(1, 2)).abs()[:, None]  # (n, 1, C, left + C + right)
    return -gap.to(slopes.dtype) * slopes[:, None, None]
