"""The shared transformer decoder over packed sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from seqattn.attention.kernels import KernelName
from seqattn.attention.layout import Layout
from seqattn.attention.multihead import EdgeWeightName
from seqattn.attention.pairs import Pairs
from seqattn.attention.patterns import Pattern, PatternName
from seqattn.attention.rotary import rotary_angles
from seqattn.layers.decoder_layer import DecoderLayer
from seqattn.layers.decoder_state import DecoderState
from seqattn.layers.pooling import LayerMix
from seqattn.layers.positions import longest_position
from seqattn.layers.slots import (
    FeedForwardName,
    LayerSlots,
    MixerName,
    NormKind,
    NormPlace,
    PositionName,
    ScoreName,
    require_choice,
)
from seqattn.layers.stack import LayerStack
from seqattn.packing import Packing

MemoryLayers = Literal["last", "same_depth", "mix"]
Memory = Tensor | Sequence[Tensor]
"""The encoder's output (T, D), or its input and the output of every layer, each (T, D)."""


class Decoder(LayerStack):
    """A transformer decoder over packed sequences (Vaswani et al. 2017, section 3.1).

    In one pass it gives all positions (teacher forcing); step by step the same numbers. Each
    sequence reads a memory of its own length: the encoder's output for its source. Any slot may
    be a list with one entry per layer; all mean what they mean in :class:`Encoder`.

    Args:
        dim: D, the encoder's.
        depth: number of layers.
        heads: H.
        mixer: what mixes the positions of a sequence before they read the memory; ``recurrent``
            with the ``additive`` score is the attentive recurrent decoder (Bahdanau et al. 2015).
        score: how query and key are compared: in the cross-attention, and within the sequence
            where the mixer is an attention.
        pattern: who may attend to whom within the sequence.
        edge_weight: ``ignore``: the positions written have no edges.
        position: of the sequence; the memory's are in its vectors.
        max_length: positions in the learned table.
        norm: ``pre`` or ``post``.
        norm_kind: ``layer``, ``rms`` or ``batch``.
        feedforward: non-linearity of the feed-forward network, or none of it.
        feedforward_dim: its inner width; 4 D by default.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: on the residual branches and inside the feed-forward network.
        attention_dropout: on the attention weights, of the cross-attention too.
        kernel: which kernel computes the attention; the cross-attention takes ``varlen`` or
            chooses itself.
        memory_layers: which of the encoder's layers each layer reads: the ``last``; that of the
            ``same_depth``; those of a list, one entry per layer, where 0 is the encoder's input
            and -1 its output; or a learned ``mix`` of all (see :meth:`connect`).
        autoregressive: whether no position may see a later one.
        embedding_norm: normalise the positions before the first layer, as BART does.

    Raises:
        ValueError: as :class:`Encoder`; if a pattern looks ahead and the decoder is
            autoregressive, or does not and it is not; if there are edge slots; if `memory_layers`
            is unknown or has not `depth` entries.
    """

    layer_class = DecoderLayer
    reads_memory = True

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        mixer: MixerName | list[MixerName] = "attention",
        score: ScoreName | list[ScoreName] = "dot",
        pattern: PatternName | Pattern | list[PatternName | Pattern] = "causal",
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
        memory_layers: MemoryLayers | list[int] = "last",
        autoregressive: bool = True,
        embedding_norm: bool = False,
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
        _require_memory_layers(memory_layers, depth)
        _require_slots(self.slots, autoregressive=autoregressive)
        self.memory_layers = memory_layers
        self.autoregressive = autoregressive
        self.input_norm = nn.LayerNorm(dim) if embedding_norm else nn.Identity()
        self.mixes = nn.ModuleList()

    @property
    def needs_layers(self) -> bool:
        """Whether the memory must be the list of the encoder's hidden states."""
        return self.memory_layers != "last"

    def connect(self, encoder_depth: int) -> None:
        """Say how many layers the encoder has; a learned mix is made for them, once.

        A head does so before it loads weights or makes its optimiser.

        Raises:
            ValueError: if `memory_layers` names layers that the encoder does not have, or a mix
                was made for another encoder.
        """
        count = encoder_depth + 1
        if self.memory_layers == "mix":
            if not self.mixes:
                self.mixes.extend(LayerMix(count) for _ in self.layers)
            made = len(next(self.mixes[0].parameters()))
            if made != count:
                raise ValueError(
                    f"memory_layers='mix' was made for an encoder of {made - 1} layers, "
                    f"got {encoder_depth}"
                )
        elif self.needs_layers:
            self._layer_numbers(count)

    def forward(
        self,
        y: Tensor,
        y_offsets: Tensor,
        memory: Memory,
        memory_offsets: Tensor,
        *,
        packing: Packing | None = None,
        memory_packing: Packing | None = None,
    ) -> Tensor:
        """Return the decoded positions, in the order they came.

        A sequence whose memory is empty reads zeros from it.

        Args:
            y: packed vectors of the sequences, BEGIN first.
            y_offsets: where each sequence begins.
            memory: the encoder's output, or its hidden states where :attr:`needs_layers`.
            memory_offsets: where each sequence's memory begins.
            packing: of y, which saves reading `y_offsets` from the device.
            memory_packing: the same of the memory.

        Shape:
            y (T_y, D); y_offsets, memory_offsets (B + 1,); memory (T, D), or encoder depth + 1 of
            them. returns: (T_y, D).

        Raises:
            ValueError: if shapes or numbers do not fit, or a sequence is longer than the learned
                table.
        """
        if y.dim() != 2 or y.shape[1] != self.dim:
            raise ValueError(f"y must have shape (T_y, D = {self.dim}), got {tuple(y.shape)}")
        packing = Packing.from_offsets(y_offsets) if packing is None else packing
        if memory_packing is None:
            memory_packing = Packing.from_offsets(memory_offsets)
        pairs = Pairs.of(packing, memory_packing)
        read = self._memories(memory, memory_packing)
        layout = self._layout(packing, packing.positions, y)
        longest = longest_position(packing) if self.added else 0
        for index, (layer, own) in enumerate(zip(self._each_layer(), read, strict=True)):
            y = self._enter(index, y, packing.positions, longest)
            y = layer(y, layout, own, pairs)
        out: Tensor = self.final_norm(y)
        return out

    def start(
        self, memory: Memory, memory_offsets: Tensor, *, memory_packing: Packing | None = None
    ) -> DecoderState:
        """Return the state of B sentences of which nothing is written, for :meth:`step`.

        Keys and values of the memory are computed here, once per sentence.

        Shape:
            memory (T, D), or encoder depth + 1 of them; memory_offsets (B + 1,).

        Raises:
            ValueError: if the decoder is not autoregressive, or the memory does not fit.
        """
        if not self.autoregressive:
            raise ValueError("only a decoder with autoregressive=True writes step by step")
        self._require_causal()
        if memory_packing is None:
            memory_packing = Packing.from_offsets(memory_offsets)
        size = len(memory_packing)
        memories = [
            layer.cross.start(own, memory_packing)
            for layer, own in zip(
                self._each_layer(), self._memories(memory, memory_packing), strict=True
            )
        ]
        caches = [layer.start(size) for layer in self._each_layer()]
        return DecoderState(caches, memories, size, size)

    def step(self, y: Tensor, state: DecoderState) -> Tensor:
        """Return the decoding of the next position of each row; the state grows by it.

        The outputs of L steps equal one full pass over L positions.

        Shape:
            y (R, D). returns: (R, D).

        Raises:
            ValueError: if there is not one vector per row, or no position is left in the learned
                table.
        """
        if y.shape != (state.size, self.dim):
            raise ValueError(
                f"y must have shape (R = {state.size}, D = {self.dim}), got {tuple(y.shape)}"
            )
        packing = state.packing(y)
        positions = torch.full_like(packing.positions, state.length)
        layout = self._layout(packing, positions, y)
        layers = zip(self._each_layer(), state.caches, state.memories, strict=True)
        for index, (layer, caches, memory) in enumerate(layers):
            y = self._enter(index, y, positions, state.length + 1)
            y = layer.step(y, caches, memory, layout)
        state.length += 1
        out: Tensor = self.final_norm(y)
        return out

    def _each_layer(self) -> Iterator[DecoderLayer]:
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            yield layer

    def _layout(self, packing: Packing, positions: Tensor, like: Tensor) -> Layout:
        turns = rotary_angles(positions, self.head_dim, like.dtype) if self._turns() else None
        return Layout(packing, turns)

    def _enter(self, index: int, y: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Return the input of layer `index`: positions added, normalised before the first."""
        y = self._add_positions(index, y, positions, longest)
        out: Tensor = y if index else self.input_norm(y)
        return out

    def _memories(self, memory: Memory, packing: Packing) -> list[Tensor]:
        """Return what each layer reads."""
        wanted = (packing.total, self.dim)
        states = [memory] if isinstance(memory, Tensor) else list(memory)
        for state in states:
            if state.shape != wanted:
                raise ValueError(
                    f"memory must have shape (T, D) = {wanted}, got {tuple(state.shape)}"
                )
        if not self.needs_layers:
            return states[-1:] * len(self.layers)
        if isinstance(memory, Tensor):
            raise ValueError(
                f"memory must be the list of hidden states with "
                f"memory_layers={self.memory_layers!r}, got one tensor"
            )
        if self.memory_layers == "mix":
            if not self.mixes:
                raise ValueError("memory_layers='mix' needs decoder.connect(encoder_depth) first")
            self.connect(len(states) - 1)
            return [mix(states) for mix in self.mixes]
        return [states[number] for number in self._layer_numbers(len(states))]

    def _layer_numbers(self, count: int) -> list[int]:
        """Return which of the encoder's `count` hidden states each layer reads."""
        depth = len(self.layers)
        if isinstance(self.memory_layers, list):
            for number in self.memory_layers:
                if not -count <= number < count:
                    raise ValueError(
                        f"memory_layers must lie in {-count} … {count - 1}, the encoder's hidden "
                        f"states, got {number}"
                    )
            return self.memory_layers
        if depth != count - 1:
            raise ValueError(
                "memory_layers='same_depth' needs an encoder as deep as the decoder "
                f"({depth} layers), got {count - 1} layers"
            )
        return list(range(1, depth + 1))


def _require_memory_layers(memory_layers: MemoryLayers | list[int], depth: int) -> None:
    if not isinstance(memory_layers, list):
        require_choice("memory_layers", memory_layers, ("last", "same_depth", "mix"))
    elif len(memory_layers) != depth:
        raise ValueError(
            f"memory_layers must have one entry per layer (depth={depth}), got {len(memory_layers)}"
        )


def _require_slots(layers: Sequence[LayerSlots], *, autoregressive: bool) -> None:
    """Refuse edges, and patterns that do not go with `autoregressive`."""
    for index, slots in enumerate(layers):
        name = type(slots.pattern).__name__
        if slots.edge_weight != "ignore" or slots.pattern.reads_edges:
            raise ValueError(
                "a decoder's positions have no edges, "
                f"got pattern {name} and edge_weight={slots.edge_weight!r} (layer {index})"
            )
        if slots.mixer != "none" and slots.pattern.is_causal != autoregressive:
            wanted = "causal patterns" if autoregressive else "patterns that look ahead"
            raise ValueError(
                f"autoregressive={autoregressive} needs {wanted}, got {name} (layer {index})"
            )
