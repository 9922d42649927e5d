"""Multi-head self-attention over packed sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqattn.attention.layout import Layout
from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Pattern
from seqattn.attention.reference import attend
from seqattn.attention.rotary import rotate


@dataclass
class AttentionCache:
    """Keys and values of the positions seen so far; grows in place.

    Args:
        keys: Shape: (B, H, capacity, K).
        values: Shape: (B, H, capacity, K_value).
        length: positions in use.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one position (B, H, K) and return all of them (B, H, length, K)."""
        if self.length == self.keys.shape[2]:
            self.keys = torch.cat([self.keys, torch.empty_like(self.keys)], dim=2)
            self.values = torch.cat([self.values, torch.empty_like(self.values)], dim=2)
        self.keys[:, :, self.length] = key
        self.values[:, :, self.length] = value
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        self.keys = self.keys.index_select(0, rows)
        self.values = self.values.index_select(0, rows)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each in its own subspace (Vaswani et al. 2017, section 3.2.2).

    Args:
        dim: D.
        heads: H.
        pattern: who may attend to whom.
        position: ``rotary`` and ``alibi`` act here; the others elsewhere.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: probability of dropping an attention weight.

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
        position: str = "none",
        head_dim: int | None = None,
        value_dim: int | None = None,
        dropout: float = 0.0,
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
        self.dropout = dropout
        self.scale = self.head_dim**-0.5
        self.project_in = nn.Linear(dim, heads * (2 * self.head_dim + self.value_dim))
        self.project_out = nn.Linear(heads * self.value_dim, dim)
        slopes = alibi_slopes(heads) if position == "alibi" else None
        self.register_buffer("slopes", slopes, persistent=False)
        self._initialize()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return what every position reads from its sequence.

        Shape:
            x (T, D). returns: (T, D).
        """
        query, key, value = self._heads_of(x)
        if self.position == "rotary":
            query, key = rotate(query, layout.rotary), rotate(key, layout.rotary)
        mixed = padded_attention(
            query,
            key,
            value,
            layout.packing,
            pattern=self.pattern,
            scale=self.scale,
            slopes=self.slopes,
            dropout=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.project_out(mixed.flatten(1))
        return out

    def start(self, size: int) -> AttentionCache:
        """Return an empty cache for B = `size` sequences."""
        weight = self.project_in.weight
        keys = weight.new_empty(size, self.heads, 16, self.head_dim)
        return AttentionCache(keys, weight.new_empty(size, self.heads, 16, self.value_dim))

    def step(self, x: Tensor, cache: AttentionCache, layout: Layout) -> Tensor:
        """Return what the next position of each sequence reads; adds it to the cache.

        Shape:
            x (B, D). returns: (B, D).
        """
        query, key, value = self._heads_of(x)  # (B, H, K)
        if self.position == "rotary":
            query, key = rotate(query, layout.rotary), rotate(key, layout.rotary)
        keys, values = cache.append(key, value)
        distance = torch.arange(1 - cache.length, 1, device=x.device)  # (M,)
        bias = None
        if self.slopes is not None:
            bias = (distance.to(x.dtype) * self.slopes.to(x)[:, None])[:, None]  # (H, 1, M)
        mixed, _ = attend(
            query[:, :, None],
            keys,
            values,
            scale=self.scale,
            mask=self.pattern.allows(distance),
            bias=bias,
        )
        out: Tensor = self.project_out(mixed[:, :, 0].flatten(1))
        return out

    def _heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        widths = [self.heads * w for w in (self.head_dim, self.head_dim, self.value_dim)]
        query, key, value = self.project_in(x).split(widths, dim=-1)
        shape = (self.heads, -1)
        return query.unflatten(-1, shape), key.unflatten(-1, shape), value.unflatten(-1, shape)

    def _initialize(self) -> None:
        nn.init.xavier_uniform_(self.project_in.weight)
        nn.init.zeros_(self.project_in.bias)
        nn.init.xavier_uniform_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)


def alibi_slopes(heads: int) -> Tensor:
    """Return ALiBi's slope of each head, 2^(-8 h / H) (Press et al. 2022, section 3).

    Shape:
        returns: (H,).
    """
    return torch.tensor([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
