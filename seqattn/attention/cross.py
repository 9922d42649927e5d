"""Multi-head cross-attention: positions of one sequence read those of another, the memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqattn.attention.cross_product import cross_attention
from seqattn.attention.kernels import KernelName
from seqattn.attention.linear import Linear
from seqattn.attention.pairs import Pairs
from seqattn.attention.reference import Score, attend
from seqattn.packing import Packing


@dataclass
class MemoryCache:
    """Keys and values of the memories of B sentences, whatever rows read them.

    Args:
        keys: Shape: (B, H, M, K).
        values: Shape: (B, H, M, K_value).
        bias: minus infinity for padding, 0 elsewhere. Shape: (B, H, 1, M).
        has_empty: whether a memory may be empty.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor
    has_empty: bool

    def select(self, sentences: Tensor) -> None:
        """Keep the memories of these sentences. Shape: sentences (B',) int64."""
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)
        self.bias = self.bias.index_select(0, sentences)


class CrossAttention(nn.Module):
    """H attentions side by side that read a memory (Vaswani et al. 2017, section 3.2.3).

    Positions play no part in it: those of the memory are in its vectors.

    Args:
        dim: D, of the positions and of the memory.
        heads: H.
        score: ``dot``, or ``additive`` with a learned vector per head.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: probability of dropping an attention weight.
        kernel: ``varlen`` takes no other kernel; every other name leaves the choice open.

    Raises:
        ValueError: if H does not divide D and `head_dim` is not given.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        score: Score = "dot",
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
        self.dropout = dropout
        self.kernel: KernelName = kernel
        self.scale = self.head_dim**-0.5
        self.project_query = Linear(dim, heads * self.head_dim)
        self.project_memory = Linear(dim, heads * (self.head_dim + self.value_dim))
        self.project_out = Linear(heads * self.value_dim, dim)
        learned = torch.empty(heads, self.head_dim) if score == "additive" else None
        self.score_vector = None if learned is None else nn.Parameter(learned)
        self._initialize()

    def forward(self, x: Tensor, memory: Tensor, pairs: Pairs) -> Tensor:
        """Return what every position reads from its sequence's memory.

        Shape:
            x (T_y, D); memory (T, D). returns: (T_y, D).
        """
        key, value = self.read(memory)
        mixed = cross_attention(
            self.ask(x),
            key,
            value,
            pairs,
            scale=self.scale,
            score_vector=self.score_vector,
            dropout=self.dropout if self.training else 0.0,
            kernel=self.kernel,
        )
        out: Tensor = self.project_out(mixed.flatten(1))
        return out

    def ask(self, x: Tensor) -> Tensor:
        """Return the queries of every head. Shape: x (T_y, D). returns: (T_y, H, K)."""
        queries: Tensor = self.project_query(x)
        return queries.view(len(x), self.heads, self.head_dim)

    def read(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of every head.

        Shape:
            memory (T, D). returns: (T, H, K), (T, H, K_value).
        """
        widths = [self.heads * self.head_dim, self.heads * self.value_dim]
        key, value = self.project_memory(memory).split(widths, dim=-1)
        return key.unflatten(-1, (self.heads, -1)), value.unflatten(-1, (self.heads, -1))

    def start(self, memory: Tensor, packing: Packing) -> MemoryCache:
        """Return keys and values of the memories, for :meth:`step`. Shape: memory (T, D)."""
        steps = torch.arange(packing.max_length, device=memory.device)
        starts, lengths = packing.offsets[:-1, None], packing.offsets.diff()[:, None]
        rows = (starts + steps).clamp(max=max(packing.total - 1, 0)).flatten()  # (B M,)
        shape = (len(packing), packing.max_length)
        keys, values = (
            x.index_select(0, rows).view(*shape, *x.shape[1:]).transpose(1, 2).contiguous()
            for x in self.read(memory)
        )  # (B, H, M, K)
        bias = torch.where(steps < lengths, 0.0, -torch.inf).to(keys.dtype)  # (B, M)
        bias = bias[:, None, None].expand(-1, self.heads, -1, -1).contiguous()
        return MemoryCache(keys, values, bias, min(packing.lengths, default=1) == 0)

    def step(self, x: Tensor, cache: MemoryCache) -> Tensor:
        """Return what the next position of each row reads; row r is of sentence r // W.

        Shape:
            x (B W, D). returns: (B W, D).
        """
        sentences = len(cache.keys)
        width = len(x) // sentences if sentences else 0
        query = self.ask(x).view(sentences, width, self.heads, self.head_dim).transpose(1, 2)
        mixed = self._mix(query, cache)  # (B, H, W, K_value)
        out: Tensor = self.project_out(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        return out

    def _mix(self, query: Tensor, cache: MemoryCache) -> Tensor:
        """Attend with the rows of a sentence as the positions of one sequence (B, H, W, K)."""
        if self.score_vector is None and not cache.has_empty:
            keys, values, bias = (x.flatten(0, 1) for x in (cache.keys, cache.values, cache.bias))
            asked = query.flatten(0, 1)  # (B H, W, K)
            scores = torch.baddbmm(bias, asked, keys.transpose(1, 2), alpha=self.scale)
            mixed = torch.bmm(scores.softmax(-1), values)  # (B H, W, K_value)
            return mixed.view(*query.shape[:3], self.value_dim)
        mixed, _ = attend(
            query,
            cache.keys,
            cache.values,
            score="dot" if self.score_vector is None else "additive",
            score_vector=self.score_vector,
            scale=self.scale,
            mask=cache.bias == 0,
        )
        return mixed

    def _initialize(self) -> None:
        for linear in (self.project_query, self.project_memory, self.project_out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        if self.score_vector is not None:
            nn.init.normal_(self.score_vector, std=self.scale)
