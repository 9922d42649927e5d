"""Which kernel computes an attention: chosen by pattern, device, dtype and sizes, or by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from seqattn.attention.edge_list import edge_list_aggregate, edge_list_attention
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.padded import padded_aggregate, padded_attention
from seqattn.attention.patterns import Pattern, Window
from seqattn.attention.varlen import varlen_attention, why_not_varlen
from seqattn.attention.window import WindowPlan, window_attention
from seqattn.packing import Packing

KernelName = Literal["auto", "padded", "window", "edge_list", "varlen"]

# A dense matrix wins while it has fewer entries than this many times the edges (measured): more
# with the dot score and no multiplier, whose gradient is written by hand. And while all of a
# batch's matrices of one head stay below so many entries.
_DENSE_PER_EDGE = 1.3
_DENSE_PER_EDGE_BY_HAND = 5.0
_DENSE_ENTRIES = 2**26
# The blocks of a window pay from this many times its width, if they hold fewer scores.
_WINDOW_FROM = 2


@dataclass(frozen=True)
class Scoring:
    """How a layer scores; the same for every kernel.

    Args:
        pattern: who may see whom.
        scale: factor of the dot score.
        slopes: ALiBi's slope of each head, (H,), or None.
        score_vector: the additive score's vectors, (H, K), or None.
        dropout: probability of dropping a weight.
        terms: what the edges do, or None without.
    """

    pattern: Pattern
    scale: float
    slopes: Tensor | None = None
    score_vector: Tensor | None = None
    dropout: float = 0.0
    terms: EdgeTerms | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but the dot score."""
        extras = (self.slopes, self.score_vector, self.terms)
        return all(extra is None for extra in extras) and not self.dropout


def run_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    scoring: Scoring,
    kernel: KernelName = "auto",
) -> Tensor:
    """Return the attention output of packed sequences by the kernel named, or by the best.

    Shape:
        query, key (T, H, K); value (T, H, K_value). returns: (T, H, K_value).

    Raises:
        ValueError: if the kernel named cannot compute this.
    """
    name = choose_kernel(query, value, packing, scoring, kernel)
    if name == "varlen":
        return varlen_attention(
            query, key, value, packing, pattern=scoring.pattern, scale=scoring.scale
        )
    if name == "edge_list":
        assert scoring.terms is not None
        return edge_list_attention(
            query,
            key,
            value,
            scoring.terms.edges,
            scale=scoring.scale,
            slopes=scoring.slopes,
            score_vector=scoring.score_vector,
            bias=scoring.terms.scaled_bias,
            multiplier=scoring.terms.multiplier,
            dropout=scoring.dropout,
        )
    if name == "window":
        assert isinstance(scoring.pattern, Window)
        return window_attention(
            query,
            key,
            value,
            packing,
            pattern=scoring.pattern,
            scale=scoring.scale,
            slopes=scoring.slopes,
            score_vector=scoring.score_vector,
            dropout=scoring.dropout,
        )
    return padded_attention(
        query,
        key,
        value,
        packing,
        pattern=scoring.pattern,
        scale=scoring.scale,
        slopes=scoring.slopes,
        score_vector=scoring.score_vector,
        dropout=scoring.dropout,
        terms=scoring.terms,
    )


def run_aggregate(
    value: Tensor, weights: Tensor, edges: EdgeList, kernel: KernelName = "auto"
) -> Tensor:
    """Return the sum of the values at the sources of each position's edges, with given weights.

    Shape:
        value (T, H, K_value); weights (H, E'). returns: (T, H, K_value).
    """
    if kernel == "padded":
        return padded_aggregate(value, weights, edges)
    return edge_list_aggregate(value, weights, edges)


def choose_kernel(
    query: Tensor, value: Tensor, packing: Packing, scoring: Scoring, kernel: KernelName = "auto"
) -> KernelName:
    """Return the kernel to use: `kernel` itself, or for ``auto`` the best.

    Decided from numbers on the host; no device is waited for.

    Raises:
        ValueError: if the kernel named cannot compute this.
    """
    if kernel != "auto":
        reason = _why_not(kernel, query, value, scoring)
        if reason is not None:
            raise ValueError(f"kernel={kernel!r} cannot compute this layer: {reason}")
        return kernel
    terms = scoring.terms
    if terms is not None:
        is_sparse = terms.is_pattern and _is_sparse(packing, scoring)
        return "edge_list" if is_sparse else "padded"
    if why_not_varlen(query, value, scoring.pattern, is_plain=scoring.is_plain) is None:
        return "varlen"
    if isinstance(scoring.pattern, Window) and _is_narrow(packing, scoring.pattern):
        return "window"
    return "padded"


def _is_narrow(packing: Packing, window: Window) -> bool:
    if packing.max_length <= _WINDOW_FROM * max(window.left + window.right, 1):
        return False
    return WindowPlan.of(packing, window).scores < _padded_scores(packing)


def _padded_scores(packing: Packing) -> int:
    """Return how many scores of each head the padded kernel computes."""
    return sum(group.size * group.length**2 for group in packing.groups)


def _is_sparse(packing: Packing, scoring: Scoring) -> bool:
    terms = scoring.terms
    assert terms is not None
    by_hand = scoring.score_vector is None and terms.multiplier is None
    limit = (_DENSE_PER_EDGE_BY_HAND if by_hand else _DENSE_PER_EDGE) * len(terms.edges)
    return _padded_scores(packing) > min(limit, _DENSE_ENTRIES)


def _why_not(kernel: KernelName, query: Tensor, value: Tensor, scoring: Scoring) -> str | None:
    if kernel == "varlen":
        return why_not_varlen(query, value, scoring.pattern, is_plain=scoring.is_plain)
    if kernel == "edge_list" and (scoring.terms is None or not scoring.terms.is_pattern):
        return "it needs the pattern Edges and a batch with edges"
    if kernel == "window":
        if not isinstance(scoring.pattern, Window):
            return f"it needs the pattern Window, got {type(scoring.pattern).__name__}"
        if scoring.terms is not None:
            return "it knows no edge weights"
    return None
