"""The edge-list kernel: attention along edges, with time and memory that grow with their number."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.attention.edges import EdgeList, SparseRows
from seqattn.attention.reference import largest_exponent

Kernel = TypeVar("Kernel", bound=Callable[..., Tensor])


def _untraced(kernel: Kernel) -> Kernel:
    """Return a kernel that ``torch.compile`` calls as it is: it cannot follow sparse tensors."""
    untraced: Kernel = torch.compiler.disable(kernel)
    return untraced


@_untraced
def edge_list_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edges: EdgeList,
    *,
    scale: float,
    slopes: Tensor | None = None,
    score_vector: Tensor | None = None,
    bias: Tensor | None = None,
    multiplier: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return what each position reads along the edges that end at it.

    Equals the reference with a mask that is True at the edges; a position without any reads zero.

    Args:
        query: packed queries.
        key: packed keys.
        value: packed values.
        edges: who reads whom.
        scale: factor of the dot score.
        slopes: ALiBi's slope of each head, (H,); None without.
        score_vector: the additive score's vectors, (H, K); None for the dot score.
        bias: added to the score of each edge.
        multiplier: not negative; times the weight of each edge, before they are normalised.
        dropout: probability of dropping a weight.

    Shape:
        query, key (T, H, K); value (T, H, K_value); bias, multiplier (H, E').
        returns: (T, H, K_value).
    """
    rows = edges.rows(query.shape[1])
    extra = bias
    if slopes is not None:
        penalty = _distances(edges, slopes)
        extra = -penalty if bias is None else bias - penalty
    if score_vector is None:
        scores: Tensor = _SampledProduct.apply(query.flatten(0, 1), key.flatten(0, 1), rows, scale)
    else:
        scores = rows.arrange(_additive_scores(query, key, edges, score_vector))
    if extra is not None:
        scores = scores + rows.arrange(extra)
    factor = None if multiplier is None else rows.arrange(multiplier)
    weights: Tensor = _SegmentSoftmax.apply(scores, factor, rows)
    if dropout:
        weights = F.dropout(weights, dropout)
    return _read(weights.to(value.dtype), value, rows)  # autocast may have kept them exact


@_untraced
def edge_list_aggregate(value: Tensor, weights: Tensor, edges: EdgeList) -> Tensor:
    """Return the sum of the values at the sources of each position's edges, with given weights.

    Shape:
        value (T, H, K_value); weights (H, E'). returns: (T, H, K_value).
    """
    rows = edges.rows(value.shape[1])
    return _read(rows.arrange(weights), value, rows)


def normalize_by_target(weights: Tensor, edges: EdgeList) -> Tensor:
    """Return weights whose sum at every target is 1, or 0 where all of them are 0.

    Shape:
        weights (H, E'). returns: (H, E').
    """
    total = weights.new_zeros(weights.shape[0], edges.packing.total)
    total = total.index_add(1, edges.target, weights)
    total = total.masked_fill(total == 0, 1.0)
    return weights / total.index_select(1, edges.target)


def _read(weights: Tensor, value: Tensor, rows: SparseRows) -> Tensor:
    out: Tensor = _WeightedSum.apply(weights, value.flatten(0, 1), rows)
    return out.view(value.shape)


def _distances(edges: EdgeList, slopes: Tensor) -> Tensor:
    """Return ALiBi's penalty of each edge. Shape: (H, E')."""
    positions = edges.packing.positions
    gap = positions.index_select(0, edges.source) - positions.index_select(0, edges.target)
    return slopes[:, None] * gap.abs().to(slopes.dtype)


def _additive_scores(query: Tensor, key: Tensor, edges: EdgeList, vector: Tensor) -> Tensor:
    """Return ``vector · tanh(query + key)`` of each edge. Shape: (H, E')."""
    hidden = torch.tanh(query.index_select(0, edges.target) + key.index_select(0, edges.source))
    return (hidden * vector).sum(-1).T  # from (E', H, K)


def _sampled_product(left: Tensor, right: Tensor, rows: SparseRows, scale: float) -> Tensor:
    """Return ``scale left[row] · right[column]`` of entries. Shape: two of (R, K), returns (N,)."""
    if not rows.columns.shape[0] or not left.shape[1]:
        return left.new_zeros(rows.columns.shape[0])
    exact = left.dtype if left.dtype in (torch.float32, torch.float64) else torch.float32
    with warnings.catch_warnings():  # torch calls its compressed row form a beta
        warnings.simplefilter("ignore", UserWarning)
        pattern = torch.sparse_csr_tensor(
            rows.starts,
            rows.columns,
            left.new_zeros(rows.columns.shape[0], dtype=exact),
            (left.shape[0], right.shape[0]),
            check_invariants=False,
        )
    product: Tensor = torch.sparse.sampled_addmm(
        pattern, left.to(exact), right.to(exact).T, alpha=scale
    )
    return product.values().to(left.dtype)


def _weighted_sum(weights: Tensor, x: Tensor, columns: Tensor, starts: Tensor) -> Tensor:
    """Return the weighted sum of the rows of x in each segment. Shape: returns (R, K)."""
    if not columns.shape[0]:
        return x.new_zeros(starts.shape[0] - 1, x.shape[1])
    summed: Tensor = F.embedding_bag(
        columns, x, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    return summed


class _SampledProduct(torch.autograd.Function):
    """The dot products of rows that an entry joins, and nothing else of the full product."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, rows: SparseRows, scale: float) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.rows, ctx.scale = rows, scale
        return _sampled_product(query, key, rows, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, key = ctx.saved_tensors
        rows: SparseRows = ctx.rows
        grad = grad * ctx.scale
        flipped = grad.index_select(0, rows.flipped_order)
        to_query = _weighted_sum(grad, key, rows.columns, rows.starts)
        to_key = _weighted_sum(flipped, query, rows.flipped_columns, rows.flipped_starts)
        return to_query, to_key, None, None


class _SegmentSoftmax(torch.autograd.Function):
    """The softmax over the entries of each row, in ratio form with a multiplier."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, multiplier: Tensor | None, rows: SparseRows) -> Tensor:
        # A key of weight zero takes no part, however high its score.
        counted = scores if multiplier is None else scores.masked_fill(multiplier == 0, -torch.inf)
        highest = torch.segment_reduce(counted, "max", offsets=rows.starts, initial=-torch.inf)
        shares = scores - highest.index_select(0, rows.rows)
        if multiplier is not None:
            shares.clamp_(max=largest_exponent(scores.dtype))
        shares.exp_()
        weights = shares if multiplier is None else shares * multiplier
        total = scores.new_zeros(highest.shape[0]).index_add_(0, rows.rows, weights)
        divisor = total.masked_fill_(total == 0, torch.inf).index_select(0, rows.rows)
        weights = weights / divisor
        ctx.rows, ctx.has_multiplier = rows, multiplier is not None
        if multiplier is not None:
            shares = shares.div_(divisor).clamp_(max=torch.finfo(shares.dtype).max)
        ctx.save_for_backward(weights, shares if ctx.has_multiplier else None)
        return weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        weights, shares = ctx.saved_tensors
        index = ctx.rows.rows
        mean = grad.new_zeros(ctx.rows.starts.shape[0] - 1)
        mean.index_add_(0, index, grad * weights)
        change = grad - mean.index_select(0, index)
        if not ctx.has_multiplier:
            return change * weights, None, None
        most = torch.finfo(shares.dtype).max
        return change * weights, (change * shares).clamp_(-most, most), None


class _WeightedSum(torch.autograd.Function):
    """Each row's entries times the values that they name."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, value: Tensor, rows: SparseRows) -> Tensor:
        ctx.save_for_backward(weights, value)
        ctx.rows = rows
        return _weighted_sum(weights, value, rows.columns, rows.starts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        weights, value = ctx.saved_tensors
        rows: SparseRows = ctx.rows
        grad = grad.contiguous()
        to_weights = _sampled_product(grad, value, rows, 1.0) if ctx.needs_input_grad[0] else None
        flipped = weights.index_select(0, rows.flipped_order)
        to_value = _weighted_sum(flipped, grad, rows.flipped_columns, rows.flipped_starts)
        return to_weights, to_value, None
