"""Slots: the encoder's independent options, for every layer or one entry per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from seqattn.attention.kernels import KernelName
from seqattn.attention.multihead import EdgeWeightName
from seqattn.attention.patterns import Edges, Pattern, Window, as_pattern
from seqattn.attention.reference import Score

ScoreName = Score
MixerName = Literal[
    "attention",
    "convolution",
    "recurrent",
    "recurrent_gru",
    "window",
    "none",
    "attention_convolution",
]
PositionName = Literal["none", "sinusoidal", "learned", "rotary", "alibi"]
NormPlace = Literal["pre", "post"]
NormKind = Literal["layer", "rms", "batch"]
FeedForwardName = Literal["relu", "gelu", "swiglu", "none"]

_CHOICES: dict[str, Any] = {
    "mixer": MixerName,
    "score": ScoreName,
    "edge_weight": EdgeWeightName,
    "position": PositionName,
    "norm": NormPlace,
    "norm_kind": NormKind,
    "feedforward": FeedForwardName,
}

_VARLEN_SCORE = "kernel='varlen' knows the plain dot score only, got 'additive' or 'alibi'"


@dataclass(frozen=True)
class AttentionSizes:
    """What every attention layer of an encoder has in common.

    Args:
        heads: H.
        head_dim: K, or None for D / H.
        value_dim: width of a head's values, or None for K.
        dropout: probability of dropping an attention weight.
        kernel: which kernel computes it.
    """

    heads: int
    head_dim: int | None
    value_dim: int | None
    dropout: float
    kernel: KernelName


@dataclass(frozen=True)
class LayerSlots:
    """The slots of one layer."""

    mixer: MixerName
    score: ScoreName
    pattern: Pattern
    edge_weight: EdgeWeightName
    position: PositionName
    norm: NormPlace
    norm_kind: NormKind
    feedforward: FeedForwardName

    @property
    def attends(self) -> bool:
        """Whether the layer has an attention."""
        return self.mixer in ("attention", "attention_convolution")

    @property
    def reads_edges(self) -> bool:
        """Whether the edges of a batch change what the layer computes."""
        return self.attends and (self.pattern.reads_edges or self.edge_weight != "ignore")


def slots_per_layer(
    depth: int,
    slots: Mapping[str, Any],
    kernel: KernelName = "auto",
    *,
    reads_memory: bool = False,
) -> list[LayerSlots]:
    """Return the slots of each layer.

    Args:
        depth: number of layers.
        slots: for each field of :class:`LayerSlots` one value, or a list of `depth` values.
        kernel: the kernel that will compute them.
        reads_memory: whether each layer has a cross-attention, which takes its score.

    Raises:
        ValueError: if a list has another length, a value is unknown, or a layer's values make no
            sense together.
    """
    columns = {name: _column(name, slot, depth) for name, slot in slots.items()}
    for name, choices in _CHOICES.items():
        for value in columns[name]:
            require_choice(name, value, get_args(choices))
    require_choice("kernel", kernel, get_args(KernelName))
    columns["pattern"] = [as_pattern(pattern) for pattern in columns["pattern"]]
    layers = [
        LayerSlots(**{name: column[index] for name, column in columns.items()})
        for index in range(depth)
    ]
    for index, layer in enumerate(layers):
        reason = refuse(layer, kernel, reads_memory=reads_memory)
        if reason is not None:
            raise ValueError(f"{reason} (layer {index})")
    return layers


def require_attention_for(kernel: KernelName, layers: Sequence[LayerSlots]) -> None:
    """Check that a kernel named has something to compute.

    Raises:
        ValueError: if no layer attends.
    """
    if kernel != "auto" and not any(layer.attends for layer in layers):
        mixers = ", ".join(sorted({repr(layer.mixer) for layer in layers}))
        raise ValueError(f"kernel={kernel!r} needs a layer with attention, got mixer={mixers}")


def refuse(
    layer: LayerSlots, kernel: KernelName = "auto", *, reads_memory: bool = False
) -> str | None:
    """Return the sentence that says why a layer's slots make no sense together, or None.

    The table of these rules is in docs/attention.md.
    """
    if not layer.attends:
        return _refuse_without_attention(layer, kernel, reads_memory)
    pattern, weight = layer.pattern, layer.edge_weight
    has_edges = isinstance(pattern, Edges)
    name = type(pattern).__name__
    if weight in ("multiply", "replace") and not has_edges:
        return f"edge_weight={weight!r} needs the pattern Edges, got {name}"
    if weight == "replace" and layer.score == "additive":
        return "edge_weight='replace' has no score, got score='additive'"
    if weight == "replace" and layer.position in ("rotary", "alibi"):
        return f"edge_weight='replace' has no score for a position, got {layer.position!r}"
    if layer.score == "additive" and layer.position == "rotary":
        return "position='rotary' needs the dot score, got score='additive'"
    if layer.mixer == "attention_convolution" and has_edges:
        return "a convolution needs an order, got the pattern Edges"
    return _refuse_kernel(layer, kernel)


def _refuse_without_attention(
    layer: LayerSlots, kernel: KernelName, reads_memory: bool
) -> str | None:
    """Refuse what only an attention could read. Positions are read by the layers that attend."""
    mixer, pattern = layer.mixer, layer.pattern
    name = type(pattern).__name__
    if mixer == "window" and not isinstance(pattern, Window):
        return f"mixer='window' needs a Window as its pattern, got {name}"
    if isinstance(pattern, Edges):
        return f"mixer={mixer!r} reads no edges, got the pattern Edges"
    if isinstance(pattern, Window) and mixer not in ("window", "convolution"):
        return f"mixer={mixer!r} has no window, got the pattern Window"
    if layer.score != "dot" and not reads_memory:
        return f"mixer={mixer!r} has no score, got score={layer.score!r}"
    if layer.score != "dot" and kernel == "varlen":
        return _VARLEN_SCORE
    if layer.edge_weight != "ignore":
        return f"mixer={mixer!r} reads no edges, got edge_weight={layer.edge_weight!r}"
    if mixer == "none" and layer.feedforward == "none":
        return "a layer needs a mixer or a feed-forward network, got 'none' for both"
    return None


def _refuse_kernel(layer: LayerSlots, kernel: KernelName) -> str | None:
    """Refuse a kernel named that can never compute a layer."""
    name = type(layer.pattern).__name__
    if kernel == "edge_list" and not isinstance(layer.pattern, Edges):
        return f"kernel='edge_list' needs the pattern Edges, got {name}"
    if kernel in ("window", "varlen") and layer.edge_weight != "ignore":
        return f"kernel={kernel!r} knows no edge weights, got {layer.edge_weight!r}"
    if kernel == "window" and not isinstance(layer.pattern, Window):
        return f"kernel='window' needs a Window as its pattern, got {name}"
    if kernel == "varlen" and isinstance(layer.pattern, Edges):
        return "kernel='varlen' knows no edges, got the pattern Edges"
    if kernel == "varlen" and (layer.score != "dot" or layer.position == "alibi"):
        return _VARLEN_SCORE
    return None


def _column(name: str, slot: Any, depth: int) -> list[Any]:
    if not isinstance(slot, list | tuple):
        return [slot] * depth
    if len(slot) != depth:
        raise ValueError(f"{name} must have one entry per layer (depth={depth}), got {len(slot)}")
    return list(slot)


def require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Check a slot's value.

    Raises:
        ValueError: if it is not one of the choices.
    """
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
