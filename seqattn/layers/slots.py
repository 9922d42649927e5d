"""Slots: the encoder's independent options, for every layer or one entry per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from seqattn.attention.patterns import Pattern, as_pattern

MixerName = Literal["attention"]
ScoreName = Literal["dot"]
EdgeWeightName = Literal["ignore"]
PositionName = Literal["none", "sinusoidal", "learned", "rotary", "alibi"]
NormPlace = Literal["pre", "post"]
NormKind = Literal["layer", "rms"]
FeedForwardName = Literal["relu", "gelu", "swiglu", "none"]
KernelName = Literal["auto", "padded"]

_CHOICES: dict[str, Any] = {
    "mixer": MixerName,
    "score": ScoreName,
    "edge_weight": EdgeWeightName,
    "position": PositionName,
    "norm": NormPlace,
    "norm_kind": NormKind,
    "feedforward": FeedForwardName,
}


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


def slots_per_layer(depth: int, slots: Mapping[str, Any]) -> list[LayerSlots]:
    """Return the slots of each layer.

    Args:
        depth: number of layers.
        slots: for each field of :class:`LayerSlots` one value, or a list of `depth` values.

    Raises:
        ValueError: if a list has another length, or a value is unknown.
    """
    columns = {name: _column(name, slot, depth) for name, slot in slots.items()}
    for name, choices in _CHOICES.items():
        for value in columns[name]:
            require_choice(name, value, get_args(choices))
    columns["pattern"] = [as_pattern(pattern) for pattern in columns["pattern"]]
    return [
        LayerSlots(**{name: column[index] for name, column in columns.items()})
        for index in range(depth)
    ]


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
