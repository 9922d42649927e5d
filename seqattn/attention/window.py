"""The block kernel of windows: time and memory grow with the length times the window."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.patterns import Window
from seqattn.attention.reference import attend
from seqattn.packing import Packing

# Blocks shorter than this spend more on overhead than they save on halo.
_MIN_BLOCK = 16


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
    def make(cls, packing: Packing, window: Window) -> BlockLayout:
        """Cut every sequence into blocks, on the host."""
        size = max(window.left, window.right, _MIN_BLOCK)
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

    Shape:
        query, key (T, H, K); value (T, H, K_value); slopes (H,); score_vector (H, K).
        returns: (T, H, K_value).
    """
    if packing.total == 0:
        return value * query.sum(-1, keepdim=True) * key.sum(-1, keepdim=True)
    layout = packing.once(
        ("blocks", pattern.left, pattern.right), lambda: BlockLayout.make(packing, pattern)
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
