"""The shared transformer encoder over packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, overload

import torch
from torch import Tensor, nn

from seqattn.attention.layout import Layout
from seqattn.attention.multihead import AttentionCache, MultiHeadAttention
from seqattn.attention.patterns import Pattern, PatternName
from seqattn.attention.rotary import rotary_angles
from seqattn.layers.dropout import Dropout
from seqattn.layers.feedforward import FeedForward
from seqattn.layers.positions import LearnedPositions, SinusoidalPositions, longest_position
from seqattn.layers.slots import (
    EdgeWeightName,
    FeedForwardName,
    KernelName,
    LayerSlots,
    MixerName,
    NormKind,
    NormPlace,
    PositionName,
    ScoreName,
    require_choice,
    slots_per_layer,
)
from seqattn.packing import Packing
from seqattn.recorded import Recorded


@dataclass
class EncoderState:
    """What :meth:`Encoder.step` remembers of B sequences of equal length.

    Args:
        caches: keys and values, one cache per layer.
        size: B.
        length: positions seen so far.
    """

    caches: list[AttentionCache]
    size: int
    length: int = 0

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        for cache in self.caches:
            cache.select(rows)
        self.size = len(rows)


class EncoderLayer(nn.Module):
    """One mixer and one feed-forward network, each on a residual branch."""

    def __init__(
        self,
        dim: int,
        slots: LayerSlots,
        mixer: MultiHeadAttention,
        *,
        feedforward_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.slots = slots
        self.is_pre = slots.norm == "pre"
        self.mixer = mixer
        self.mixer_norm = make_norm(slots.norm_kind, dim)
        self.feedforward = None
        if slots.feedforward != "none":
            self.feedforward = FeedForward(
                dim, feedforward_dim, kind=slots.feedforward, dropout=dropout
            )
            self.feedforward_norm = make_norm(slots.norm_kind, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the updated positions. Shape: x (T, D). returns: (T, D)."""
        mixed = self.mixer(self.mixer_norm(x) if self.is_pre else x, layout)
        return self._finish(x, mixed)

    def step(self, x: Tensor, cache: AttentionCache, layout: Layout) -> Tensor:
        """Return the next position of each sequence. Shape: x (B, D). returns: (B, D)."""
        mixed = self.mixer.step(self.mixer_norm(x) if self.is_pre else x, cache, layout)
        return self._finish(x, mixed)

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = self.dropout.add(x, mixed)
        if not self.is_pre:
            x = self.mixer_norm(x)
        if self.feedforward is None:
            return x
        update = self.feedforward(self.feedforward_norm(x) if self.is_pre else x)
        x = self.dropout.add(x, update)
        return x if self.is_pre else self.feedforward_norm(x)


class Encoder(Recorded, nn.Module):
    """A transformer encoder over packed sequences (Vaswani et al. 2017, section 3.1).

    Any slot may be a list with one entry per layer.

    Args:
        dim: D.
        depth: number of layers.
        heads: H.
        mixer: what mixes the positions of a sequence.
        score: how query and key are compared.
        pattern: who may attend to whom: ``full``, ``causal`` or a :class:`Window`.
        edge_weight: what edge weights do to the attention.
        position: ``sinusoidal`` and ``learned`` are added once, before the first layer that names
            them; ``rotary`` and ``alibi`` act in the attention of each layer that names them.
        max_length: positions in the learned table.
        norm: ``pre`` normalises the input of each branch, ``post`` the sum (Xiong et al. 2020).
        norm_kind: layer norm, or root mean square norm (Zhang & Sennrich 2019).
        feedforward: non-linearity of the feed-forward network, or none of it.
        feedforward_dim: its inner width; 4 D by default.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: on the residual branches and inside the feed-forward network.
        attention_dropout: on the attention weights.
        kernel: which kernel computes the attention; ``auto`` chooses.

    Raises:
        ValueError: if a slot's value is unknown or its list has not `depth` entries, or sizes do
            not fit each other.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        mixer: MixerName | list[MixerName] = "attention",
        score: ScoreName | list[ScoreName] = "dot",
        pattern: PatternName | Pattern | list[PatternName | Pattern] = "full",
        edge_weight: EdgeWeightName | list[EdgeWeightName] = "ignore",
        position: PositionName | list[PositionName] = "rotary",
        max_length: int = 1024,
        norm: NormPlace | list[NormPlace] = "pre",
        norm_kind: NormKind | list[NormKind] = "layer",
        feedforward: FeedForwardName | list[FeedForwardName] = "gelu",
        feedforward_dim: int | None = None,
        head_dim: int | None = None,
        value_dim: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        kernel: KernelName = "auto",
    ) -> None:
        super().__init__()
        for name, number in (("dim", dim), ("depth", depth), ("heads", heads)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        require_choice("kernel", kernel, get_args(KernelName))
        self.dim = dim
        self.slots = slots_per_layer(
            depth,
            {
                "mixer": mixer,
                "score": score,
                "pattern": pattern,
                "edge_weight": edge_weight,
                "position": position,
                "norm": norm,
                "norm_kind": norm_kind,
                "feedforward": feedforward,
            },
        )
        self.layers = nn.ModuleList()
        for slots in self.slots:
            attention = MultiHeadAttention(
                dim,
                heads,
                pattern=slots.pattern,
                position=slots.position,
                head_dim=head_dim,
                value_dim=value_dim,
                dropout=attention_dropout,
            )
            inner = feedforward_dim or 4 * dim
            self.layers.append(
                EncoderLayer(dim, slots, attention, feedforward_dim=inner, dropout=dropout)
            )
        self.positions = [slots.position for slots in self.slots]
        self.added = _make_added_positions(self.positions, dim, max_length)
        last = self.slots[-1]
        self.final_norm = make_norm(last.norm_kind, dim) if last.norm == "pre" else nn.Identity()
        self.head_dim = dim // heads if head_dim is None else head_dim

    @overload
    def forward(
        self,
        x: Tensor,
        offsets: Tensor,
        edge_index: Tensor | None = ...,
        edge_weight: Tensor | None = ...,
        positions: Tensor | None = ...,
        *,
        packing: Packing | None = ...,
        hidden_states: Literal[False] = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        x: Tensor,
        offsets: Tensor,
        edge_index: Tensor | None = ...,
        edge_weight: Tensor | None = ...,
        positions: Tensor | None = ...,
        *,
        packing: Packing | None = ...,
        hidden_states: Literal[True],
    ) -> list[Tensor]: ...

    def forward(
        self,
        x: Tensor,
        offsets: Tensor,
        edge_index: Tensor | None = None,
        edge_weight: Tensor | None = None,
        positions: Tensor | None = None,
        *,
        packing: Packing | None = None,
        hidden_states: bool = False,
    ) -> Tensor | list[Tensor]:
        """Return the encoded positions, in the order they came.

        Args:
            x: packed vectors.
            offsets: where each sequence begins.
            edge_index: source row, then target row; None leaves the edge slots inert.
            edge_weight: weight of each edge, or of each edge for each head.
            positions: index of each position; counted from `offsets` by default.
            packing: the batch's, which saves reading `offsets` from the device.
            hidden_states: return a list instead: the input with its added positions, the output
                of every layer, the last one normalised as in the plain output.

        Shape:
            x (T, D); offsets (B + 1,); edge_index (2, E); edge_weight (E,) or (E, H);
            positions (T,). returns: (T, D), or depth + 1 of them.

        Raises:
            ValueError: if x is not (T, D), or a sequence is longer than the learned table.
        """
        if x.dim() != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (T, D = {self.dim}), got {tuple(x.shape)}")
        packing = Packing.from_offsets(offsets) if packing is None else packing
        if positions is not None:
            packing = packing.with_positions(positions)
        layout = self._layout(packing, x, edge_index, edge_weight)
        states = []
        for index, layer in enumerate(self.layers):
            x = self._add_positions(index, x, packing)
            states.append(x)
            x = layer(x, layout)
        x = self.final_norm(x)
        return [*states, x] if hidden_states else x

    def start(self, size: int) -> EncoderState:
        """Return the empty state of `size` sequences, for :meth:`step`.

        Raises:
            ValueError: if a layer's pattern is not causal.
        """
        for index, slots in enumerate(self.slots):
            if not slots.pattern.is_causal:
                name = type(slots.pattern).__name__
                raise ValueError(
                    f"only causal patterns can be computed step by step, "
                    f"got pattern {name} in layer {index}"
                )
        return EncoderState([layer.mixer.start(size) for layer in self.layers], size)

    def step(self, x: Tensor, state: EncoderState) -> Tensor:
        """Return the encoding of the next position of each sequence; the state grows by it.

        The outputs of L steps equal one full pass over L positions.

        Shape:
            x (B, D). returns: (B, D).
        """
        packing = Packing.from_lengths([1] * len(x)).to(x.device)
        packing = packing.with_positions(torch.full_like(packing.positions, state.length))
        layout = self._layout(packing, x, None, None)
        for index, (layer, cache) in enumerate(zip(self.layers, state.caches, strict=True)):
            x = layer.step(self._add_positions(index, x, packing), cache, layout)
        state.length += 1
        out: Tensor = self.final_norm(x)
        return out

    def _layout(
        self,
        packing: Packing,
        x: Tensor,
        edge_index: Tensor | None,
        edge_weight: Tensor | None,
    ) -> Layout:
        rotary = None
        if "rotary" in self.positions:
            rotary = rotary_angles(packing.positions, self.head_dim, x.dtype)
        return Layout(packing, rotary, edge_index, edge_weight)

    def _add_positions(self, index: int, x: Tensor, packing: Packing) -> Tensor:
        """Add the positions that layer `index` is the first to name."""
        name = self.positions[index]
        if name not in self.added or name in self.positions[:index]:
            return x
        out: Tensor = self.added[name](x, packing.positions, longest_position(packing))
        return out


def make_norm(kind: NormKind, dim: int) -> nn.Module:
    """Return a normalisation over the features of each position."""
    return nn.LayerNorm(dim) if kind == "layer" else nn.RMSNorm(dim)


def _make_added_positions(names: list[PositionName], dim: int, max_length: int) -> nn.ModuleDict:
    added = nn.ModuleDict()
    if "sinusoidal" in names:
        added["sinusoidal"] = SinusoidalPositions(dim)
    if "learned" in names:
        added["learned"] = LearnedPositions(dim, max_length)
    return added
