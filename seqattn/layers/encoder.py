"""The shared transformer encoder over packed sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor

from seqattn.attention.cache import Cache
from seqattn.attention.kernels import KernelName
from seqattn.attention.layout import Layout
from seqattn.attention.multihead import EdgeWeightName
from seqattn.attention.patterns import Pattern, PatternName
from seqattn.attention.rotary import rotary_angles
from seqattn.layers.encoder_layer import EncoderLayer
from seqattn.layers.positions import longest_position
from seqattn.layers.slots import (
    FeedForwardName,
    MixerName,
    NormKind,
    NormPlace,
    PositionName,
    ScoreName,
    require_attention_for,
)
from seqattn.layers.stack import LayerStack
from seqattn.packing import Packing


@dataclass
class EncoderState:
    """What :meth:`Encoder.step` remembers of B sequences of equal length.

    Args:
        caches: for each layer one memory per mixer.
        size: B.
        length: positions seen so far.
    """

    caches: list[list[Cache]]
    size: int
    length: int = 0

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        for caches in self.caches:
            for cache in caches:
                cache.select(rows)
        self.size = len(rows)


class Encoder(LayerStack):
    """A transformer encoder over packed sequences (Vaswani et al. 2017, section 3.1).

    Any slot may be a list with one entry per layer.

    Args:
        dim: D.
        depth: number of layers.
        heads: H.
        mixer: what mixes the positions of a sequence: ``attention``; ``convolution`` (depthwise
            separable); ``recurrent`` (an LSTM) or ``recurrent_gru``; ``window`` (one fully
            connected layer over neighbours); ``none``; ``attention_convolution`` (one after the
            other, as in a Conformer).
        score: how query and key are compared: scaled ``dot`` product, or ``additive``.
        pattern: who may attend to whom: ``full``, ``causal``, a :class:`Window` or
            :class:`Edges`. The other mixers take their direction and reach from it.
        edge_weight: what edge weights do to the attention: ``ignore``; ``bias``, a learned gain
            per head times the weight, added to the score; ``multiply``, times the attention
            weight; ``replace``, instead of it. A batch may have edges that no layer reads.
        position: ``sinusoidal`` and ``learned`` are added once, before the first layer that names
            them; ``rotary`` and ``alibi`` act in the attention of each layer that names them.
        max_length: positions in the learned table.
        norm: ``pre`` normalises the input of each branch, ``post`` the sum (Xiong et al. 2020).
        norm_kind: ``layer``; ``rms``, root mean square (Zhang & Sennrich 2019); ``batch``, over
            all real positions, with which a sequence's batch-mates do change its result.
        feedforward: non-linearity of the feed-forward network, or none of it.
        feedforward_dim: its inner width; 4 D by default.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: on the residual branches and inside the feed-forward network.
        attention_dropout: on the attention weights.
        kernel: which kernel computes the attention; ``auto`` chooses.

    Raises:
        ValueError: if a slot's value is unknown or its list has not `depth` entries, if the slots
            of a layer make no sense together (docs/attention.md), or if sizes do not fit.
    """

    layer_class = EncoderLayer

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
        super().__init__(
            dim,
            depth,
            heads,
            slots={
                "mixer": mixer,
                "score": score,
                "pattern": pattern,
                "edge_weight": edge_weight,
                "position": position,
                "norm": norm,
                "norm_kind": norm_kind,
                "feedforward": feedforward,
            },
            max_length=max_length,
            feedforward_dim=feedforward_dim,
            head_dim=head_dim,
            value_dim=value_dim,
            dropout=dropout,
            attention_dropout=attention_dropout,
            kernel=kernel,
        )
        require_attention_for(kernel, self.slots)

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
            ValueError: if x is not (T, D), `offsets` do not end at T, a sequence is longer than
                the learned table, or the edges do not fit each other, their sequences or a
                layer's `edge_weight`.
        """
        if x.dim() != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (T, D = {self.dim}), got {tuple(x.shape)}")
        packing = Packing.from_offsets(offsets) if packing is None else packing
        if packing.total != len(x):
            raise ValueError(f"offsets must end at T = {len(x)}, got {packing.total}")
        if positions is not None:
            packing = packing.with_positions(positions)
        layout = self._layout(packing, x, edge_index, edge_weight)
        longest = longest_position(packing) if self.added else 0
        states = []
        for index, layer in enumerate(self.layers):
            x = self._add_positions(index, x, packing.positions, longest)
            states.append(x)
            x = layer(x, layout)
        x = self.final_norm(x)
        return [*states, x] if hidden_states else x

    @property
    def reads_edges(self) -> bool:
        """Whether any layer reads the batch's edges."""
        return any(slots.reads_edges for slots in self.slots)

    def start(self, size: int) -> EncoderState:
        """Return the empty state of `size` sequences, for :meth:`step`.

        Raises:
            ValueError: if a layer's pattern is not causal.
        """
        self._require_causal()
        return EncoderState([layer.start(size) for layer in self._each_layer()], size)

    def step(self, x: Tensor, state: EncoderState) -> Tensor:
        """Return the encoding of the next position of each sequence; the state grows by it.

        The outputs of L steps equal one full pass over L positions.

        Shape:
            x (B, D). returns: (B, D).
        """
        packing = Packing.from_lengths([1] * len(x)).to(x.device)
        packing = packing.with_positions(torch.full_like(packing.positions, state.length))
        layout = self._layout(packing, x, None, None)
        for index, (layer, caches) in enumerate(zip(self._each_layer(), state.caches, strict=True)):
            x = self._add_positions(index, x, packing.positions, state.length + 1)
            x = layer.step(x, caches, layout)
        state.length += 1
        out: Tensor = self.final_norm(x)
        return out

    def _each_layer(self) -> Iterator[EncoderLayer]:
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            yield layer

    def _layout(
        self,
        packing: Packing,
        x: Tensor,
        edge_index: Tensor | None,
        edge_weight: Tensor | None,
    ) -> Layout:
        _check_edges(edge_index, edge_weight)
        rotary = None
        if self._turns():
            rotary = rotary_angles(packing.positions, self.head_dim, x.dtype)
        return Layout(packing, rotary, edge_index, edge_weight)


def _check_edges(edge_index: Tensor | None, edge_weight: Tensor | None) -> None:
    """Check the shapes of edges that come without a batch.

    Raises:
        ValueError: if they do not fit.
    """
    if edge_index is None:
        if edge_weight is not None:
            raise ValueError("edge_weight needs an edge_index, got None")
        return
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape (2, E), got {tuple(edge_index.shape)}")
    if edge_weight is not None and edge_weight.shape[:1] != edge_index.shape[1:]:
        raise ValueError(
            f"edge_weight must have one row per edge ({edge_index.shape[1]}), "
            f"got {tuple(edge_weight.shape)}"
        )
