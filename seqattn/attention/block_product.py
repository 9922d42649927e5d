"""Softmax attention over padded blocks with a gradient written by hand.

The same numbers as the formula; it keeps the weights and writes every product into its place,
which costs half the memory traffic of recording each operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, block_sizes
from seqattn.packing import Packing


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    biases: Sequence[Tensor | None],
    scale: float,
) -> Tensor:
    """Return the dot-product attention of packed sequences.

    Args:
        query: packed queries.
        key: packed keys.
        value: packed values.
        packing: layout of the batch.
        biases: per group what is added to the scores; gets no gradient. Every row needs an entry
            above minus infinity.
        scale: factor of the scores.

    Shape:
        query, key (T, H, K); value (T, H, K_value); biases (b or 1, H or 1, L or 1, L).
        returns: (T, H, K_value).
    """
    out: Tensor = _BlockAttention.apply(query, key, value, packing, biases, scale)
    return out


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        packing: Packing,
        biases: Sequence[Tensor | None],
        scale: float,
    ) -> Tensor:
        heads = query.shape[1]
        rows = HeadRows.of(packing, heads)
        blocks = [x.flatten(0, 1).index_select(0, rows.rows) for x in (query, key, value)]
        mixed = torch.empty_like(blocks[2])
        weights = []
        views = _views((*blocks, mixed), packing, heads)
        for q, k, v, out, bias in zip(*views, biases, strict=True):
            share = _weigh(q, k, bias, heads, scale)
            torch.bmm(share, v, out=out)
            weights.append(share)
        ctx.save_for_backward(*blocks, *weights)
        ctx.packing, ctx.heads, ctx.scale = packing, heads, scale
        return mixed.index_select(0, rows.packed).view(value.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        rows = HeadRows.of(ctx.packing, ctx.heads)
        total = grad.shape[0]
        grad = grad.flatten(0, 1).index_select(0, rows.rows)
        grad.index_fill_(0, rows.padding, 0.0)
        results = [torch.empty_like(x) for x in (query, key, value)]
        views = _views((query, key, value, grad, *results), ctx.packing, ctx.heads)
        for q, k, v, g, to_q, to_k, to_v, share in zip(*views, weights, strict=True):
            torch.bmm(share.transpose(1, 2), g, out=to_v)
            change = torch.bmm(g, v.transpose(1, 2))
            change = torch._softmax_backward_data(change, share, -1, share.dtype)
            torch.baddbmm(to_q, change, k, beta=0, alpha=ctx.scale, out=to_q)
            torch.baddbmm(to_k, change.transpose(1, 2), q, beta=0, alpha=ctx.scale, out=to_k)
        gathered = [x.index_select(0, rows.packed).view(total, ctx.heads, -1) for x in results]
        return *gathered, None, None, None


def _weigh(query: Tensor, key: Tensor, bias: Tensor | None, heads: int, scale: float) -> Tensor:
    """Return the softmax of the scores of one block. Shape: (b H, L, K). returns: (b H, L, L)."""
    count, length = query.shape[:2]
    scores = query.new_empty(count, length, length)
    torch.baddbmm(scores, query, key.transpose(1, 2), beta=0, alpha=scale, out=scores)
    if bias is not None:
        scores.view(count // heads, heads, length, length).add_(bias)
    return torch.softmax(scores, -1)


def _views(tensors: Sequence[Tensor], packing: Packing, heads: int) -> list[list[Tensor]]:
    """Return for each tensor its blocks. Shape: (P H, K). returns: of (b H, L, K)."""
    sizes = block_sizes(packing, heads)
    lengths = [group.length for group in packing.groups]
    return [
        [
            part.view(-1, n, x.shape[1])
            for part, n in zip(torch.split(x, sizes), lengths, strict=True)
        ]
        for x in tensors
    ]
