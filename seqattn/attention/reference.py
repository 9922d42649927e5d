"""The attention formula, written to be read: the oracle of every kernel and every picture."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

Score = Literal["dot", "additive"]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    score: Score = "dot",
    score_vector: Tensor | None = None,
    scale: float | None = None,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    multiplier: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what each query reads from the values, and the weights with which it reads.

    ``weights = softmax(score(query, key) + bias)`` over the keys that a query may look at;
    ``output = weights · value`` (Vaswani et al. 2017, equation 1). A `multiplier` m turns the
    weights into ``exp(score) m / sum(exp(score) m)``. A query that may look at nothing, or whose
    multipliers are all zero, gets weights and output of zero.

    Args:
        query: what asks.
        key: what is compared with it.
        value: what is read.
        score: ``dot`` is ``scale * query · key``; ``additive`` is
            ``score_vector · tanh(query + key)`` (Bahdanau et al. 2015, appendix A.1.2).
        score_vector: the additive score's learned vector.
        scale: factor of the dot score; 1 / sqrt(K) by default.
        mask: True where a query may look at a key; everywhere by default.
        bias: added to the score.
        multiplier: not negative; times the weight, before they are normalised.

    Shape:
        query (…, L, K); key (…, M, K); value (…, M, K_value); score_vector (…, K);
        mask, bias, multiplier broadcast to (…, L, M).
        returns: output (…, L, K_value), weights (…, L, M).

    Raises:
        ValueError: if `score` is unknown, or `score_vector` is not given exactly where it is used.
    """
    scores = _score(query, key, score, score_vector, scale)  # (..., L, M)
    if bias is not None:
        scores = scores + bias
    visible = torch.ones_like(scores, dtype=torch.bool)
    if mask is not None:
        visible = visible & mask
    weights = masked_softmax(scores, visible, multiplier)
    return weights @ value, weights


def aggregate(value: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of the values, with weights that come from elsewhere: no score.

    Shape:
        value (…, M, K); weights (…, L, M). returns: (…, L, K).
    """
    return weights @ value


def masked_softmax(scores: Tensor, visible: Tensor, multiplier: Tensor | None = None) -> Tensor:
    """Return the softmax over the visible keys; rows without any are zero, gradients included.

    A key whose multiplier is zero takes no part, however high its score.

    Shape:
        scores, visible, returns: (…, L, M). multiplier broadcasts to it.
    """
    if not scores.shape[-1]:
        return scores
    scores = scores.masked_fill(~visible, -torch.inf)
    counted = scores if multiplier is None else scores.masked_fill(multiplier == 0, -torch.inf)
    highest = counted.detach().amax(-1, keepdim=True)
    shares = scores - highest.masked_fill(highest == -torch.inf, 0.0)
    if multiplier is None:
        shares = shares.exp()
    else:
        shares = shares.clamp(max=largest_exponent(scores.dtype)).exp() * keep_finite(multiplier)
    total = shares.sum(-1, keepdim=True)
    empty = total == 0
    return (shares / total.masked_fill(empty, 1.0)).masked_fill(empty, 0.0)


def largest_exponent(dtype: torch.dtype) -> float:
    """Return a number whose exponential is finite in this type, and nearly the largest."""
    return 0.99 * math.log(torch.finfo(dtype).max)


def keep_finite(x: Tensor) -> Tensor:
    """Return x itself; its gradient, where too large for its type, is the largest number."""
    out: Tensor = _KeepFinite.apply(x)
    return out


class _KeepFinite(torch.autograd.Function):
    """Nothing forward, a limit backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        most = torch.finfo(grad.dtype).max
        return grad.clamp(-most, most)


def _score(
    query: Tensor, key: Tensor, score: str, score_vector: Tensor | None, scale: float | None
) -> Tensor:
    if score not in ("dot", "additive"):
        raise ValueError(f"score must be 'dot' or 'additive', got {score!r}")
    if (score == "additive") != (score_vector is not None):
        given = "None" if score_vector is None else "a tensor"
        raise ValueError(f"score_vector is for score='additive' only, got {given} for {score!r}")
    if score_vector is not None:
        hidden = torch.tanh(query[..., :, None, :] + key[..., None, :, :])  # (..., L, M, K)
        return (hidden * score_vector[..., None, None, :]).sum(-1)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return query @ key.transpose(-2, -1) * factor
