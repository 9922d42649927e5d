"""Softmax attention over padded blocks with a gradient written by hand.

The same numbers as the formula. A block is gone through a few sequences at a time, so that their
scores stay in the processor's cache from the first product to the last; every product is written
into its place, and only the weights are kept. The edges' bias is a matrix that all heads share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqattn.attention.blocks import HeadRows, gather_parts, gather_rows, return_parts
from seqattn.attention.byte_mask import draw_kept, drop
from seqattn.attention.masks import Masks
from seqattn.attention.spans import Spans
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
    terms, bias, gain = masks.terms, None, None
    if terms is not None and terms.bias is not None:
        bias = terms.edges.lay_out(terms.bias, 0.0)
        gain = bias.new_ones(query.shape[1]) if terms.gain is None else terms.gain
    inputs = (query, key, value, bias, gain)
    learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    out: Tensor = _BlockAttention.apply(*inputs, masks, scale, threshold, learns)
    return out


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        masks: Masks,
        scale: float,
        threshold: int | None,
        learns: bool,
    ) -> Tensor:
        packing, heads = masks.packing, query.shape[1]
        spans = Spans.of(packing, heads)
        stacks = gather_parts((query, key, value), packing)
        parts = [part for stack in stacks for part in stack]
        mixed = torch.empty_like(parts[2])
        weights = query.new_empty(sum(spans.areas) if learns else 0)
        factor = None if gain is None else gain[:, None, None]
        kept = []
        for q, k, v, out, scores, share, fixed, own in zip(
            *map(spans.rows, (*parts, mixed)),
            spans.scratch(weights),
            spans.scores(weights) if learns else spans.scratch(weights),
            masks.fixed_biases(spans.spans),
            spans.terms(bias),
            strict=True,
        ):
            beta = _write_terms(scores.view(-1, heads, *scores.shape[1:]), fixed, own, factor)
            torch.baddbmm(scores, q, k.transpose(1, 2), beta=beta, alpha=scale, out=scores)
            torch.softmax(scores, -1, out=share)  # in place it takes up to twice as long
            if threshold is not None:
                kept.append(draw_kept(share, threshold))
                share = drop(share, kept[-1], threshold)
            torch.bmm(share, v, out=out)
        rows, ctx.blind = HeadRows.of(packing, heads), masks.blind_rows(heads)
        if masks.sees_edges_only:
            mixed.index_fill_(0, ctx.blind, 0.0)
        ctx.save_for_backward(bias, gain, weights, *stacks, *kept)
        ctx.packing, ctx.spans, ctx.count = packing, spans, len(stacks)
        ctx.scale, ctx.threshold = scale, threshold
        return mixed.index_select(0, rows.packed).view(value.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        bias, gain, weights, *rest = ctx.saved_tensors
        spans: Spans = ctx.spans
        stacks, kept = rest[: ctx.count], rest[ctx.count :] or [None] * len(spans.spans)
        results = [torch.empty_like(stack) for stack in stacks]
        parts = [part for stack in (*stacks, *results) for part in stack]
        grad = gather_rows(grad, ctx.packing).index_fill_(0, ctx.blind, 0.0)
        to_bias = torch.empty_like(bias) if ctx.needs_input_grad[3] else None
        to_gain = torch.zeros_like(gain) if ctx.needs_input_grad[4] else None
        for q, k, v, to_q, to_k, to_v, g, change, scores, share, keep, own, to_own in zip(
            *map(spans.rows, (*parts, grad)),
            spans.scratch(weights),
            spans.scratch(weights),
            spans.scores(weights),
            kept,
            spans.terms(bias),
            spans.terms(to_bias),
            strict=True,
        ):
            torch.bmm(g, v.transpose(1, 2), out=change)
            used = share if keep is None else drop(share, keep, ctx.threshold)
            torch.bmm(used.transpose(1, 2), g, out=to_v)
            if keep is not None:
                change = drop(change, keep, ctx.threshold)
            softmax_backward(change, share, out=scores)
            torch.baddbmm(to_q, scores, k, beta=0, alpha=ctx.scale, out=to_q)
            torch.baddbmm(to_k, scores.transpose(1, 2), q, beta=0, alpha=ctx.scale, out=to_k)
            _learn_terms(scores, own, gain, to_own, to_gain)
        gathered = return_parts(results, ctx.packing, spans.heads)
        return *gathered, to_bias, to_gain, None, None, None, None


def _write_terms(
    scores: Tensor, fixed: Tensor | None, bias: Tensor | None, gain: Tensor | None
) -> int:
    """Write what is added to the products; return how often it counts, 0 where there is nothing.

    Shape:
        scores (c, H, L, L); fixed, bias (c or 1, H or 1, L, L); gain (H, 1, 1).
    """
    if bias is not None and gain is not None:
        if fixed is None:
            torch.mul(bias, gain, out=scores)
        else:
            torch.addcmul(fixed, bias, gain, out=scores)
    elif fixed is not None:
        scores.copy_(fixed)
    else:
        return 0
    return 1


def _learn_terms(
    change: Tensor,
    bias: Tensor | None,
    gain: Tensor | None,
    to_bias: Tensor | None,
    to_gain: Tensor | None,
) -> None:
    """Write the gradient of the edges' bias, and add to that of its gain, where they are wanted.

    Shape:
        change, the scores' gradient: (c H, L, L); bias, to_bias (c, H or 1, L, L); gain (H,).
    """
    if bias is None or gain is None:
        return
    change = change.view(-1, len(gain), *change.shape[1:])  # (c, H, L, L)
    if to_gain is not None:
        to_gain += (change * bias).sum((0, 2, 3))
    if to_bias is not None and bias.shape[1] == 1:
        factor = gain.expand(len(bias), 1, -1)
        torch.bmm(factor, change.flatten(2), out=to_bias.flatten(2))
    elif to_bias is not None:
        torch.mul(change, gain[:, None, None], out=to_bias)


def softmax_backward(grad: Tensor, share: Tensor, out: Tensor | None = None) -> None:
    """Turn the gradient of a softmax into that of its scores, in place or into `out`.

    Shape:
        grad, share, out (b H, L, M).
    """
    backward = torch.ops.aten._softmax_backward_data.out
    backward(grad, share, -1, share.dtype, grad_input=grad if out is None else out)


def block_views(tensors: Sequence[Tensor], packing: Packing, heads: int) -> list[list[Tensor]]:
    """Return for each tensor its blocks. Shape: (P H, K). returns: of (b H, L, K)."""
    sizes = [group.size * group.length * heads for group in packing.groups]
    lengths = [group.length for group in packing.groups]
    return [
        [
            part.view(-1, n, x.shape[1])
            for part, n in zip(torch.split(x, sizes), lengths, strict=True)
        ]
        for x in tensors
    ]
