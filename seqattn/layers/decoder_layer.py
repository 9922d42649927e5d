"""One layer of the decoder."""

from __future__ import annotations

from torch import Tensor

from seqattn.attention.cache import Cache
from seqattn.attention.cross import CrossAttention, MemoryCache
from seqattn.attention.layout import Layout
from seqattn.attention.pairs import Pairs
from seqattn.layers.encoder_layer import ResidualLayer
from seqattn.layers.norms import make_norm
from seqattn.layers.slots import AttentionSizes, LayerSlots


class DecoderLayer(ResidualLayer):
    """The branches of an encoder's layer, with cross-attention before the feed-forward network.

    Args:
        dim: D.
        slots: the layer's options; the cross-attention takes its score from them.
        sizes: the attentions'.
        feedforward_dim: inner width of the feed-forward network.
        dropout: on the residual branches and inside the feed-forward network.
    """

    def __init__(
        self,
        dim: int,
        slots: LayerSlots,
        sizes: AttentionSizes,
        *,
        feedforward_dim: int,
        dropout: float,
    ) -> None:
        super().__init__(dim, slots, sizes, feedforward_dim=feedforward_dim, dropout=dropout)
        self.cross = CrossAttention(
            dim,
            sizes.heads,
            score=slots.score,
            head_dim=sizes.head_dim,
            value_dim=sizes.value_dim,
            dropout=sizes.dropout,
            kernel=sizes.kernel,
        )
        self.cross_norm = make_norm(slots.norm_kind, dim)

    def forward(self, x: Tensor, layout: Layout, memory: Tensor, pairs: Pairs) -> Tensor:
        """Return the updated positions. Shape: x (T_y, D); memory (T, D). returns: (T_y, D)."""
        x = self._mix(x, layout)
        read = self.cross(self.cross_norm(x) if self.is_pre else x, memory, pairs)
        return self._feed(self._join(x, read, self.cross_norm))

    def step(self, x: Tensor, caches: list[Cache], memory: MemoryCache, layout: Layout) -> Tensor:
        """Return the next position of each row. Shape: x (R, D). returns: (R, D)."""
        x = self._mix_step(x, caches, layout)
        read = self.cross.step(self.cross_norm(x) if self.is_pre else x, memory)
        return self._feed(self._join(x, read, self.cross_norm))
