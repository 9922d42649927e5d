"""The padded kernel: sequences of similar length are padded together, inside this file only."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.patterns import Pattern
from seqattn.packing import LengthGroup, Packing

# Below this length a plain matrix product beats the fused kernel in training on a CPU.
_FUSED_FROM = 256


def padded_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    *,
    pattern: Pattern,
    scale: float,
    slopes: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return the attention output of packed sequences; equals the reference on each of them.

    Args:
        query: packed queries.
        key: packed keys.
        value: packed values.
        packing: layout of the batch.
        pattern: who may see whom.
        scale: factor of the dot score.
        slopes: ALiBi's slope of each head, (H,); None without (Press et al. 2022, section 3).
        dropout: probability of dropping a weight.

    Shape:
        query, key (T, H, K); value (T, H, K_value). returns: (T, H, K_value).
    """
    if packing.total == 0:
        return value * query.sum(-1, keepdim=True)  # nothing, but part of the graph
    padded = [_Pad.apply(x, packing) for x in (query, key, value)]  # each (P, H, K)
    sizes = [group.size * group.length for group in packing.groups]
    parts = zip(*(x.split(sizes) for x in padded), strict=True)
    starts = itertools.accumulate(sizes, initial=0)
    outputs = []
    for (q, k, v), group, start in zip(parts, packing.groups, starts, strict=False):
        bias = _bias(packing, group, start, pattern, slopes, query)
        block = [x.unflatten(0, (group.size, group.length)).transpose(1, 2) for x in (q, k, v)]
        mixed = _attend_block(*block, bias, scale, dropout)  # (b, H, L, K_value)
        outputs.append(mixed.transpose(1, 2).flatten(0, 1))
    out: Tensor = _Unpad.apply(torch.cat(outputs), packing)
    return out


def _attend_block(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    """Attend inside one padded block (b, H, L, K)."""
    learns = torch.is_grad_enabled() and query.requires_grad
    if query.shape[2] >= _FUSED_FROM or not learns or query.is_cuda:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout
        )
    scores = (query * scale) @ key.transpose(-2, -1)  # (b, H, L, L)
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(-1)
    if dropout:
        weights = F.dropout(weights, dropout)
    return weights @ value


def _bias(
    packing: Packing,
    group: LengthGroup,
    start: int,
    pattern: Pattern,
    slopes: Tensor | None,
    like: Tensor,
) -> Tensor | None:
    """Return what is added to the scores of a block, or None. Shape: (b or 1, H or 1, L, L)."""
    size, length = group.size, group.length
    steps = torch.arange(length, device=like.device)
    distance = steps[None, :] - steps[:, None]  # (L, L), key minus query
    visible = None if pattern.is_full else pattern.allows(distance)[None, None]
    if not group.is_full:
        padding = packing.padding[start : start + size * length].view(size, 1, 1, length)
        # Slots of padding see themselves, so that no row is empty; their output is never read.
        seen = ~padding | (distance == 0)
        visible = seen if visible is None else visible & seen
    bias = None
    if visible is not None:
        zero = torch.zeros((), dtype=like.dtype, device=like.device)
        bias = torch.where(visible, zero, -torch.inf)
    if slopes is None:
        return bias
    penalty = _alibi(packing, group, start, distance, slopes.to(like))
    return penalty if bias is None else penalty + bias


def _alibi(
    packing: Packing, group: LengthGroup, start: int, distance: Tensor, slopes: Tensor
) -> Tensor:
    """Return ALiBi's penalty of a block. Shape: (b or 1, H, L, L)."""
    gap = distance[None]  # (1, L, L)
    if not packing.in_order:
        rows = packing.padded_rows[start : start + group.size * group.length]
        own = packing.positions[rows].view(group.size, group.length)
        gap = own[:, None, :] - own[:, :, None]  # (b, L, L)
    return -gap.abs()[:, None].to(slopes.dtype) * slopes[:, None, None]


class _Pad(torch.autograd.Function):
    """Packed rows into the padded blocks; padding is masked and sends no gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return x.index_select(0, packing.padded_rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.packing.packed_rows), None


class _Unpad(torch.autograd.Function):
    """Rows of the padded blocks back to their packed places; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return x.index_select(0, packing.packed_rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        packing: Packing = ctx.packing
        padded = grad.index_select(0, packing.padded_rows)
        if packing.has_padding:
            padded.masked_fill_(packing.padding[:, None, None], 0.0)
        return padded, None
