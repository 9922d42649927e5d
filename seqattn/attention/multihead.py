"""Multi-head self-attention over packed sequences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from seqattn.attention.blocks import split_heads
from seqattn.attention.cache import AttentionCache
from seqattn.attention.edge_list import normalize_by_target
from seqattn.attention.kernels import KernelName, Scoring, run_aggregate, run_attention
from seqattn.attention.layout import Layout
from seqattn.attention.linear import Linear, linear
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.patterns import Edges, Pattern
from seqattn.attention.reference import Score, attend
from seqattn.attention.rotary import rotate

EdgeWeightName = Literal["ignore", "bias", "multiply", "replace"]


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each in its own subspace (Vaswani et al. 2017, section 3.2.2).

    Args:
        dim: D.
        heads: H.
        pattern: who may attend to whom.
        score: ``dot``, or ``additive`` with a learned vector per head.
        edge_weight: what the edges' weights do: ``bias`` adds them, times a learned gain per
            head, to the score; ``multiply`` multiplies the weights by them; ``replace`` takes them
            for the weights, without query and key.
        position: ``rotary`` and ``alibi`` act here; the others elsewhere.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: probability of dropping an attention weight.
        kernel: which kernel computes it.

    Raises:
        ValueError: if H does not divide D and `head_dim` is not given, or K is odd with rotary.
    """

    slopes: Tensor | None

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        pattern: Pattern,
        score: Score = "dot",
        edge_weight: EdgeWeightName = "ignore",
        position: str = "none",
        head_dim: int | None = None,
        value_dim: int | None = None,
        dropout: float = 0.0,
        kernel: KernelName = "auto",
    ) -> None:
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"heads must divide dim unless head_dim is given, got {heads}, {dim}")
        self.heads = heads
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.value_dim = self.head_dim if value_dim is None else value_dim
        if position == "rotary" and self.head_dim % 2:
            raise ValueError(f"head_dim must be even with rotary positions, got {self.head_dim}")
        self.pattern = pattern
        self.position = position
        self.edge_weight = edge_weight
        self.dropout = dropout
        self.kernel: KernelName = kernel
        self.scale = self.head_dim**-0.5
        width = 0 if edge_weight == "replace" else 2 * self.head_dim
        self.project_in = Linear(dim, heads * (width + self.value_dim))
        self.project_out = Linear(heads * self.value_dim, dim)
        learned = torch.empty(heads, self.head_dim) if score == "additive" else None
        self.score_vector = None if learned is None else nn.Parameter(learned)
        self.gain = nn.Parameter(torch.ones(heads)) if edge_weight == "bias" else None
        slopes = alibi_slopes(heads) if position == "alibi" else None
        self.register_buffer("slopes", slopes, persistent=False)
        self._initialize()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return what every position reads from its sequence.

        Shape:
            x (T, D). returns: (T, D).

        Raises:
            ValueError: if edge weights are missing or negative where the slot needs them, or the
                kernel named cannot compute this.
        """
        if self.edge_weight == "replace":
            mixed = self._aggregate(x, layout)
        else:
            query, key, value = self._heads_of(x, layout)
            scoring = self._scoring(layout, query)
            mixed = run_attention(query, key, value, layout.packing, scoring, self.kernel)
        bias: Tensor = self.project_out.bias
        for unread in self._unread(layout):
            bias = bias + 0.0 * unread.sum()
        return linear(mixed.flatten(1), self.project_out.weight, bias)

    def start(self, size: int) -> AttentionCache:
        """Return an empty cache for B = `size` sequences."""
        weight = self.project_in.weight
        keys = weight.new_empty(32, size, self.heads, self.head_dim)
        return AttentionCache(keys, weight.new_empty(32, size, self.heads, self.value_dim))

    def step(self, x: Tensor, cache: AttentionCache, layout: Layout) -> Tensor:
        """Return what the next position of each sequence reads; adds it to the cache.

        Shape:
            x (B, D). returns: (B, D).
        """
        query, key, value = self._heads_of(x, layout)  # (B, H, K)
        keys, values = cache.append(key, value)
        distance = torch.arange(1 - cache.length, 1, device=x.device)  # (M,)
        bias = None
        if self.slopes is not None:
            bias = (distance.to(x.dtype) * self.slopes.to(x)[:, None])[:, None]  # (H, 1, M)
        mixed, _ = attend(
            query[:, :, None],
            keys,
            values,
            score="dot" if self.score_vector is None else "additive",
            score_vector=self.score_vector,
            scale=self.scale,
            mask=self.pattern.allows(distance),
            bias=bias,
        )
        out: Tensor = self.project_out(mixed[:, :, 0].flatten(1))
        return out

    def _heads_of(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value of every head, turned by their positions with rotary."""
        widths = (self.head_dim, self.head_dim, self.value_dim)
        query, key, value = split_heads(self.project_in(x), self.heads, widths)
        if self.position == "rotary":
            query, key = rotate(query, layout.rotary), rotate(key, layout.rotary)
        return query, key, value

    def _unread(self, layout: Layout) -> list[nn.Parameter]:
        """Return the parameters that this batch does not reach; DDP wants a gradient for each."""
        is_empty = layout.packing.total == 0
        unread = []
        if self.gain is not None and (is_empty or layout.edge_index is None):
            unread.append(self.gain)
        if self.score_vector is not None and is_empty:
            unread.append(self.score_vector)
        return unread

    def _scoring(self, layout: Layout, query: Tensor) -> Scoring:
        return Scoring(
            self.pattern,
            self.scale,
            slopes=None if self.slopes is None else self.slopes.to(query),
            score_vector=self.score_vector,
            dropout=self.dropout if self.training else 0.0,
            terms=self._terms(layout, query),
        )

    def _terms(self, layout: Layout, query: Tensor) -> EdgeTerms | None:
        """Return what the edges do in this layer; None where it does not read them."""
        is_pattern = isinstance(self.pattern, Edges)
        if not is_pattern and self.edge_weight == "ignore":
            return None
        self_loops = isinstance(self.pattern, Edges) and self.pattern.self_loops
        edges = layout.edges(self_loops=self_loops)
        if edges is None:
            return None
        if self.gain is not None:
            rows = layout.weight_rows(self.heads)
            weight = layout.weights_of(edges, rows, loop=0.0).to(query.dtype)
            return EdgeTerms(edges, is_pattern, bias=weight, gain=self.gain.to(query.dtype))
        if self.edge_weight == "multiply":
            weight = layout.weights_of(edges, self.heads, loop=1.0).to(query.dtype)
            return EdgeTerms(edges, is_pattern, multiplier=require_not_negative(weight))
        return EdgeTerms(edges, is_pattern)

    def _aggregate(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the values read with the edges' own weights. Shape: returns (T, H, K_value)."""
        assert isinstance(self.pattern, Edges)
        edges = layout.edges(self_loops=self.pattern.self_loops)
        if edges is None:
            raise ValueError("edge_weight='replace' needs a batch with edges, got edge_index=None")
        value = self.project_in(x).unflatten(-1, (self.heads, -1))
        weight = layout.weights_of(edges, self.heads, loop=1.0).to(value.dtype)
        shares = normalize_by_target(require_not_negative(weight), edges)
        if self.training and self.dropout:
            shares = nn.functional.dropout(shares, self.dropout)
        return run_aggregate(value, shares, edges, self.kernel)

    def _initialize(self) -> None:
        nn.init.xavier_uniform_(self.project_in.weight)
        nn.init.zeros_(self.project_in.bias)
        nn.init.xavier_uniform_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)
        if self.score_vector is not None:
            nn.init.normal_(self.score_vector, std=self.scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Keep the slopes exact when the module is moved or cast."""
        super()._apply(fn, recurse)
        if self.slopes is not None:
            self.slopes = alibi_slopes(self.heads).to(self.slopes.device)
        return self


def require_not_negative(weight: Tensor) -> Tensor:
    """Return the weights, checked on a CPU only: a GPU would have to be waited for.

    Raises:
        ValueError: if one is negative, infinite or not a number.
    """
    if weight.device.type == "cpu" and weight.numel():
        least, most = (float(bound) for bound in weight.detach().aminmax())
        if not (least >= 0 and most < math.inf):
            raise ValueError(
                "edge_weight must not be negative or infinite or NaN with "
                f"edge_weight='multiply' or 'replace', got {most if least >= 0 else least}"
            )
    return weight


def alibi_slopes(heads: int) -> Tensor:
    """Return ALiBi's slope of each head, 2^(-8 h / H) (Press et al. 2022, section 3).

    Shape:
        returns: (H,).
    """
    return torch.tensor([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
