"""Kernels of cross-attention: queries of packed sequences, keys and values of packed memories."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.block_product import block_views, softmax_backward
from seqattn.attention.blocks import HeadRows, from_blocks, gather_rows, split_blocks, to_blocks
from seqattn.attention.byte_mask import byte_threshold, draw_kept, drop
from seqattn.attention.kernels import KernelName
from seqattn.attention.pairs import Pairs, select_rows
from seqattn.attention.patterns import Full
from seqattn.attention.reference import attend
from seqattn.attention.varlen import VARLEN_ATTN, why_not_varlen

# Below this length a plain matrix product beats the fused kernel in training on a CPU.
_FUSED_FROM = 256


def cross_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: Pairs,
    *,
    scale: float,
    score_vector: Tensor | None = None,
    dropout: float = 0.0,
    kernel: KernelName = "auto",
) -> Tensor:
    """Return what every position reads from its sequence's memory; zeros from an empty one.

    Args:
        query: packed queries.
        key: packed keys of the memories.
        value: packed values of the memories.
        pairs: who reads what.
        scale: factor of the dot score.
        score_vector: the additive score's vectors, (H, K); None for the dot score.
        dropout: probability of dropping a weight.
        kernel: ``varlen`` takes no other; every other name leaves the choice open.

    Shape:
        query (T_y, H, K); key (T, H, K); value (T, H, K_value). returns: (T_y, H, K_value).

    Raises:
        ValueError: if `kernel` is ``varlen`` and that cannot compute this.
    """
    if pairs.is_empty:  # nothing, but part of the graph
        nothing = [x[:0].sum() for x in (query, key, value, score_vector) if x is not None]
        return query.new_zeros(*query.shape[:2], value.shape[2]) + torch.stack(nothing).sum()
    asked = select_rows(query, pairs.query_rows)
    key, value = (select_rows(x, pairs.memory_rows) for x in (key, value))
    mixed = _dispatch(asked, key, value, pairs, scale, score_vector, dropout, kernel)
    if pairs.query_rows is None:
        return mixed
    out = mixed.new_zeros(*query.shape[:2], mixed.shape[2])
    return out.index_copy(0, pairs.query_rows, mixed)


def _dispatch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: Pairs,
    scale: float,
    score_vector: Tensor | None,
    dropout: float,
    kernel: KernelName,
) -> Tensor:
    """Attend by the best kernel, among pairs of which none is empty."""
    is_plain = score_vector is None and not dropout
    reason = why_not_varlen(query, value, Full(), is_plain=is_plain)
    if kernel == "varlen" and reason is not None:
        raise ValueError(f"kernel={kernel!r} cannot compute this layer: {reason}")
    if kernel in ("auto", "varlen") and reason is None:
        return _varlen(query, key, value, pairs, scale)
    threshold = byte_threshold(dropout)
    is_drawn = threshold is not None or not dropout
    by_hand = not query.is_cuda and is_drawn and (dropout or pairs.longest < _FUSED_FROM)
    if score_vector is None and by_hand:
        out: Tensor = _CrossProduct.apply(query, key, value, pairs, scale, threshold)
        return out
    return _in_blocks(query, key, value, pairs, scale, score_vector, dropout)


def _varlen(query: Tensor, key: Tensor, value: Tensor, pairs: Pairs, scale: float) -> Tensor:
    """Attend by flash attention that reads offsets, without padding."""
    out: Tensor = VARLEN_ATTN(
        query.contiguous(),
        key.to(query.dtype).contiguous(),
        value.to(query.dtype).contiguous(),
        pairs.query_blocks.cu_seqlens,
        pairs.memory_blocks.cu_seqlens,
        pairs.query_blocks.max_length,
        pairs.memory_blocks.max_length,
        scale=scale,
    )
    return out


def _in_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: Pairs,
    scale: float,
    score_vector: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attend in padded blocks, by torch's own kernel or, for the additive score, the formula."""
    sides = (pairs.query_blocks, pairs.memory_blocks, pairs.memory_blocks)
    heads = query.shape[1]
    blocks = [
        split_blocks(to_blocks(x, side), side, heads)
        for x, side in zip((query, key, value), sides, strict=True)
    ]
    outputs = []
    for number, (q, k, v) in enumerate(zip(*blocks, strict=True)):
        bias = pairs.bias(number, query.dtype)
        if score_vector is None:
            mixed = F.scaled_dot_product_attention(
                q, k, v, attn_mask=bias, scale=scale, dropout_p=dropout
            )
        else:
            mask = None if bias is None else bias == 0
            _, weights = attend(q, k, v, score="additive", score_vector=score_vector, mask=mask)
            mixed = (F.dropout(weights, dropout) if dropout else weights) @ v
        outputs.append(mixed)
    return from_blocks(outputs, pairs.query_blocks, heads)


class _CrossProduct(torch.autograd.Function):
    """Softmax attention over padded blocks with a gradient written by hand, on a CPU."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pairs: Pairs,
        scale: float,
        threshold: int | None,
    ) -> Tensor:
        heads, sides = query.shape[1], (pairs.query_blocks, pairs.memory_blocks)
        q_rows = gather_rows(query, sides[0])
        k_rows, v_rows = (gather_rows(x, sides[1]) for x in (key, value))
        mixed = v_rows.new_empty(len(q_rows), value.shape[2])
        views = [*block_views((q_rows, mixed), sides[0], heads)]
        views += block_views((k_rows, v_rows), sides[1], heads)
        weights, kept = [], []
        for number, (q, out, k, v) in enumerate(zip(*views, strict=True)):
            share = _weigh(q, k, pairs.bias(number, q.dtype), heads, scale)
            weights.append(share)
            if threshold is not None:
                kept.append(draw_kept(share, threshold))
                share = drop(share, kept[-1], threshold)
            torch.bmm(share, v, out=out)
        ctx.save_for_backward(q_rows, k_rows, v_rows, *weights, *kept)
        ctx.pairs, ctx.heads, ctx.scale, ctx.threshold = pairs, heads, scale, threshold
        packed = HeadRows.of(sides[0], heads).packed
        return mixed.index_select(0, packed).view(*query.shape[:2], value.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q_rows, k_rows, v_rows, *rest = ctx.saved_tensors
        sides, heads = (ctx.pairs.query_blocks, ctx.pairs.memory_blocks), ctx.heads
        count = len(sides[0].groups)
        weights, kept = rest[:count], rest[count:] or [None] * count
        grad = gather_rows(grad, sides[0])
        grad.index_fill_(0, HeadRows.of(sides[0], heads).padding, 0.0)
        results = [torch.empty_like(x) for x in (q_rows, k_rows, v_rows)]
        views = [*block_views((q_rows, grad, results[0]), sides[0], heads)]
        views += block_views((k_rows, v_rows, *results[1:]), sides[1], heads)
        for q, g, to_q, k, v, to_k, to_v, share, keep in zip(*views, weights, kept, strict=True):
            change = torch.bmm(g, v.transpose(1, 2))
            if keep is None:
                torch.bmm(share.transpose(1, 2), g, out=to_v)
            else:
                torch.bmm(drop(share, keep, ctx.threshold).transpose(1, 2), g, out=to_v)
                change = drop(change, keep, ctx.threshold)
            softmax_backward(change, share)
            torch.baddbmm(to_q, change, k, beta=0, alpha=ctx.scale, out=to_q)
            torch.baddbmm(to_k, change.transpose(1, 2), q, beta=0, alpha=ctx.scale, out=to_k)
        gathered = []
        for x, side in zip(results, (sides[0], sides[1], sides[1]), strict=True):
            packed = HeadRows.of(side, heads).packed
            gathered.append(x.index_select(0, packed).view(side.total, heads, -1))
        return *gathered, None, None, None


def _weigh(query: Tensor, key: Tensor, bias: Tensor | None, heads: int, scale: float) -> Tensor:
    """Return the softmax of the scores of one block.

    Shape:
        query (b H, L, K); key (b H, M, K). returns: (b H, L, M).
    """
    count, length, longest = query.shape[0], query.shape[1], key.shape[1]
    scores = query.new_empty(count, length, longest)
    torch.baddbmm(scores, query, key.transpose(1, 2), beta=0, alpha=scale, out=scores)
    if bias is not None:
        scores.view(count // heads, heads, length, longest).add_(bias)
    return torch.softmax(scores, -1, out=scores)
