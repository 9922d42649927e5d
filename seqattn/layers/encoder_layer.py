"""One layer of the encoder, and what it shares with one of the decoder."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from seqattn.attention.cache import Cache
from seqattn.attention.layout import Layout
from seqattn.layers.dropout import Dropout
from seqattn.layers.feedforward import FeedForward
from seqattn.layers.mixers import Mixer, make_convolution, make_mixer
from seqattn.layers.norms import make_norm
from seqattn.layers.slots import AttentionSizes, LayerSlots


class ResidualLayer(nn.Module):
    """A mixer, perhaps a convolution after it, and a feed-forward network, on residual branches.

    The base of :class:`EncoderLayer` and :class:`DecoderLayer`, which put the branches together.

    Args:
        dim: D.
        slots: the layer's options.
        sizes: the attention's.
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
        super().__init__()
        self.slots = slots
        self.is_pre = slots.norm == "pre"
        self.mixer = make_mixer(dim, slots, sizes)
        if self.mixer is not None:
            self.mixer_norm = make_norm(slots.norm_kind, dim)
        self.convolution = make_convolution(dim, slots)
        if self.convolution is not None:
            self.convolution_norm = make_norm(slots.norm_kind, dim)
        self.feedforward = None
        if slots.feedforward != "none":
            self.feedforward = FeedForward(
                dim, feedforward_dim, kind=slots.feedforward, dropout=dropout
            )
            self.feedforward_norm = make_norm(slots.norm_kind, dim)
        self.dropout = Dropout(dropout)

    def start(self, size: int) -> list[Cache]:
        """Return the empty memories of B = `size` sequences, one per mixer."""
        return [mixer.start(size) for mixer, _ in self._branches()]

    def _mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the positions after the mixers' branches."""
        for mixer, norm in self._branches():
            x = self._join(x, mixer(norm(x) if self.is_pre else x, layout), norm)
        return x

    def _mix_step(self, x: Tensor, caches: list[Cache], layout: Layout) -> Tensor:
        """Return the same for the next position of each sequence."""
        for (mixer, norm), cache in zip(self._branches(), caches, strict=True):
            mixed = mixer.step(norm(x) if self.is_pre else x, cache, layout)  # type: ignore[arg-type]
            x = self._join(x, mixed, norm)
        return x

    def _branches(self) -> Iterator[tuple[Mixer, nn.Module]]:
        if self.mixer is not None:
            yield self.mixer, self.mixer_norm
        if self.convolution is not None:
            yield self.convolution, self.convolution_norm

    def _join(self, x: Tensor, update: Tensor, norm: nn.Module) -> Tensor:
        x = self.dropout.add(x, update)
        return x if self.is_pre else norm(x)

    def _feed(self, x: Tensor) -> Tensor:
        if self.feedforward is None:
            return x
        norm = self.feedforward_norm
        return self._join(x, self.feedforward(norm(x) if self.is_pre else x), norm)


class EncoderLayer(ResidualLayer):
    """The branches of a layer that reads nothing but its own sequences."""

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the updated positions. Shape: x (T, D). returns: (T, D)."""
        return self._feed(self._mix(x, layout))

    def step(self, x: Tensor, caches: list[Cache], layout: Layout) -> Tensor:
        """Return the next position of each sequence. Shape: x (B, D). returns: (B, D)."""
        return self._feed(self._mix_step(x, caches, layout))
