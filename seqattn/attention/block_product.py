"""Softmax attention over padded blocks with a gradient written by hand.

The same numbers as the formula; it keeps the weights and writes every product into its place,
which costs half the memory traffic of recording each operation. The terms of edges are written
into the scores before the products are added to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, block_sizes, gather_rows
from seqattn.attention.byte_mask import draw_kept, drop
from seqattn.attention.edges import EdgePlaces
from seqattn.attention.masks import Masks
from seqattn.packing import Packing


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    masks: Masks,
    scale: float,
    threshold: int | None = None,
) -> Tensor:
    """Return the dot-product attention of packed sequences, on a CPU.

    Args:
        query: packed queries.
        key: packed keys.
        value: packed values.
        masks: what is added to the scores; of the edges' terms only the bias is known here.
        scale: factor of the scores.
        threshold: which of 256 random bytes drop a weight, or None for none.

    Shape:
        query, key (T, H, K); value (T, H, K_value). returns: (T, H, K_value).
    """
    terms = masks.terms
    bias = None if terms is None else terms.bias
    out: Tensor = _BlockAttention.apply(query, key, value, bias, masks, scale, threshold)
    return out


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        edge_bias: Tensor | None,
        masks: Masks,
        scale: float,
        threshold: int | None,
    ) -> Tensor:
        packing, heads = masks.packing, query.shape[1]
        rows = HeadRows.of(packing, heads)
        blocks = [gather_rows(x, packing) for x in (query, key, value)]
        mixed = torch.empty_like(blocks[2])
        views = block_views((*blocks, mixed), packing, heads)
        scores = _edge_scores(masks, edge_bias, query)
        weights, kept = [], []
        for number, (q, k, v, out) in enumerate(zip(*views, strict=True)):
            bias = masks.bias_of_distance(number)
            share = _weigh(q, k, scores[number], bias, heads, scale)
            weights.append(share)
            if threshold is not None:
                kept.append(draw_kept(share, threshold))
                share = drop(share, kept[-1], threshold)
            torch.bmm(share, v, out=out)
        ctx.blind = _blind_rows(masks, heads, rows)
        if masks.sees_edges_only:
            mixed.index_fill_(0, ctx.blind, 0.0)
        ctx.save_for_backward(*blocks, *weights, *kept)
        ctx.masks, ctx.heads, ctx.scale, ctx.threshold = masks, heads, scale, threshold
        return mixed.index_select(0, rows.packed).view(value.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *rest = ctx.saved_tensors
        packing, heads, count = ctx.masks.packing, ctx.heads, len(ctx.masks.packing.groups)
        weights, kept = rest[:count], rest[count:] or [None] * count
        rows = HeadRows.of(packing, heads)
        total = grad.shape[0]
        grad = gather_rows(grad, packing)
        grad.index_fill_(0, ctx.blind, 0.0)
        results = [torch.empty_like(x) for x in (query, key, value)]
        views = block_views((query, key, value, grad, *results), packing, heads)
        changes = []
        for q, k, v, g, to_q, to_k, to_v, share, keep in zip(*views, weights, kept, strict=True):
            change = torch.bmm(g, v.transpose(1, 2))
            if keep is None:
                torch.bmm(share.transpose(1, 2), g, out=to_v)
            else:
                torch.bmm(drop(share, keep, ctx.threshold).transpose(1, 2), g, out=to_v)
                change = drop(change, keep, ctx.threshold)
            softmax_backward(change, share)
            torch.baddbmm(to_q, change, k, beta=0, alpha=ctx.scale, out=to_q)
            torch.baddbmm(to_k, change.transpose(1, 2), q, beta=0, alpha=ctx.scale, out=to_k)
            changes.append(change.flatten())
        gathered = [x.index_select(0, rows.packed).view(total, heads, -1) for x in results]
        to_bias = None
        if ctx.needs_input_grad[3]:
            slots = ctx.masks.terms.edges.places(heads).slots
            joined = changes[0] if count == 1 else torch.cat(changes)
            to_bias = joined.index_select(0, slots).view(heads, -1)
        return *gathered, to_bias, None, None, None


def _edge_scores(masks: Masks, bias: Tensor | None, like: Tensor) -> Sequence[Tensor | None]:
    """Return the terms of the edges in each group's scores, (b H, L, L); None without edges."""
    if masks.terms is None:
        return [None] * len(masks.packing.groups)
    heads = like.shape[1]
    places: EdgePlaces = masks.terms.edges.places(heads)
    scores = places.fill(bias, -torch.inf if masks.sees_edges_only else 0.0, like.dtype)
    groups = masks.packing.groups
    parts = torch.split(scores, [group.size * heads * group.length**2 for group in groups])
    return [
        part.view(-1, group.length, group.length) for part, group in zip(parts, groups, strict=True)
    ]


def _blind_rows(masks: Masks, heads: int, rows: HeadRows) -> Tensor:
    """Return the rows (b, H, L) whose output is nothing: padding, and targets of no edge."""
    if masks.terms is None or not masks.sees_edges_only:
        return rows.padding
    return masks.terms.edges.places(heads).blind_rows


def _weigh(
    query: Tensor,
    key: Tensor,
    scores: Tensor | None,
    bias: Tensor | None,
    heads: int,
    scale: float,
) -> Tensor:
    """Return the softmax of the scores of one block. Shape: (b H, L, K). returns: (b H, L, L)."""
    count, length = query.shape[:2]
    beta = 0 if scores is None else 1
    scores = query.new_empty(count, length, length) if scores is None else scores
    torch.baddbmm(scores, query, key.transpose(1, 2), beta=beta, alpha=scale, out=scores)
    if bias is not None:
        scores.view(count // heads, heads, length, length).add_(bias)
    return torch.softmax(scores, -1, out=scores)


def softmax_backward(grad: Tensor, share: Tensor) -> None:
    """Turn the gradient of a softmax into that of its scores, in place. Shape: (b H, L, L)."""
    backward = torch.ops.aten._softmax_backward_data.out
    backward(grad, share, -1, share.dtype, grad_input=grad)


def block_views(tensors: Sequence[Tensor], packing: Packing, heads: int) -> list[list[Tensor]]:
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
