"""The padded kernel: sequences of similar length are padded together, inside this folder only.

It computes every pattern, score and edge term, with memory that grows with the squared length.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.block_product import block_attention
from seqattn.attention.blocks import from_blocks, split_blocks, to_blocks
from seqattn.attention.byte_mask import byte_threshold
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms, Masks
from seqattn.attention.patterns import Pattern
from seqattn.attention.reference import attend
from seqattn.packing import Packing

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
    score_vector: Tensor | None = None,
    dropout: float = 0.0,
    terms: EdgeTerms | None = None,
) -> Tensor:
    """Return the attention output of packed sequences; equals the reference on each of them.

    Args:
        query: packed queries.
        key: packed keys.
        value: packed values.
        packing: layout of the batch.
        pattern: who may see whom; of no account where the edges say so.
        scale: factor of the dot score.
        slopes: ALiBi's slope of each head, (H,); None without (Press et al. 2022, section 3).
        score_vector: the additive score's vectors, (H, K); None for the dot score.
        dropout: probability of dropping a weight.
        terms: what the edges do; None without edges.

    Shape:
        query, key (T, H, K); value (T, H, K_value). returns: (T, H, K_value).
    """
    if packing.total == 0:  # nothing, but part of the graph
        return value * (query * key).sum(-1, keepdim=True)
    masks = Masks(packing, pattern, slopes, terms, query)
    if score_vector is None and (terms is None or terms.multiplier is None):
        threshold = byte_threshold(dropout)
        if (
            not query.is_cuda
            and (threshold is not None or not dropout)
            and (terms is not None or dropout or packing.max_length < _FUSED_FROM)
        ):
            return block_attention(query, key, value, masks, scale, threshold)
        if terms is None:
            return _attend_fused(query, key, value, masks, scale, dropout)
    blocks = [split_blocks(to_blocks(x, packing), packing, x.shape[1]) for x in (query, key, value)]
    outputs = [
        _attend_block(q, k, v, masks, number, scale, score_vector, dropout)
        for number, (q, k, v) in enumerate(zip(*blocks, strict=True))
    ]
    return from_blocks(outputs, packing, query.shape[1])


def padded_aggregate(value: Tensor, weights: Tensor, edges: EdgeList) -> Tensor:
    """Return the sum of the values at the sources of each position's edges, with given weights.

    Shape:
        value (T, H, K_value); weights (H, E'). returns: (T, H, K_value).
    """
    packing, heads = edges.packing, value.shape[1]
    if packing.total == 0:
        return value * weights.sum()
    blocks = split_blocks(to_blocks(value, packing), packing, heads)
    dense = edges.dense(weights, 0.0)
    outputs = [share @ block for share, block in zip(dense, blocks, strict=True)]
    return from_blocks(outputs, packing, heads)


def _attend_fused(
    query: Tensor, key: Tensor, value: Tensor, masks: Masks, scale: float, dropout: float
) -> Tensor:
    """Attend with torch's own kernel: the dot score and a bias that learns nothing."""
    packing, heads = masks.packing, query.shape[1]
    biases = [masks.bias(number) for number in range(len(packing.groups))]
    blocks = [split_blocks(to_blocks(x, packing), packing, heads) for x in (query, key, value)]
    outputs = [
        F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale, dropout_p=dropout)
        for q, k, v, bias in zip(*blocks, biases, strict=True)
    ]
    return from_blocks(outputs, packing, heads)


def _attend_block(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    masks: Masks,
    number: int,
    scale: float,
    score_vector: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attend inside one padded block (b, H, L, K), with edges or the additive score."""
    if score_vector is None and not masks.may_hide_all:
        scores = (query * scale) @ key.transpose(-2, -1)
        bias = masks.bias(number)
        weights = (scores if bias is None else scores + bias).softmax(-1)
    else:
        _, weights = attend(
            query,
            key,
            value,
            score="dot" if score_vector is None else "additive",
            score_vector=score_vector,
            scale=scale,
            mask=masks.visible(number),
            bias=masks.added(number),
            multiplier=masks.multiplier(number),
        )
    return (F.dropout(weights, dropout) if dropout else weights) @ value
