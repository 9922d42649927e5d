"""Mixers: what lets the positions of a sequence know of each other."""

from __future__ import annotations

from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.patterns import Pattern, Window
from seqattn.layers.convolution import Convolution, WindowMixer
from seqattn.layers.recurrent import Recurrent
from seqattn.layers.slots import AttentionSizes, LayerSlots

Mixer = MultiHeadAttention | Convolution | WindowMixer | Recurrent
"""Each takes packed positions (T, D) and a layout; under a causal pattern it has start and step."""

# What a convolution reaches where the pattern names no window: 31 positions, as in the Conformer.
_REACH = 15


def make_mixer(dim: int, slots: LayerSlots, sizes: AttentionSizes) -> Mixer | None:
    """Return the mixer of a layer, or None where each position stays alone."""
    if slots.attends:
        return make_attention(dim, slots, sizes)
    if slots.mixer == "window":
        return WindowMixer(dim, *reach_of(slots.pattern))
    if slots.mixer == "convolution":
        return Convolution(dim, *reach_of(slots.pattern))
    if slots.mixer == "recurrent":
        return Recurrent(dim, cell="lstm", is_causal=slots.pattern.is_causal)
    if slots.mixer == "recurrent_gru":
        return Recurrent(dim, cell="gru", is_causal=slots.pattern.is_causal)
    return None


def make_attention(dim: int, slots: LayerSlots, sizes: AttentionSizes) -> MultiHeadAttention:
    """Return the attention of a layer."""
    return MultiHeadAttention(
        dim,
        sizes.heads,
        pattern=slots.pattern,
        score=slots.score,
        edge_weight=slots.edge_weight,
        position=slots.position,
        head_dim=sizes.head_dim,
        value_dim=sizes.value_dim,
        dropout=sizes.dropout,
        kernel=sizes.kernel,
    )


def make_convolution(dim: int, slots: LayerSlots) -> Convolution | None:
    """Return the convolution that follows the attention of a layer, where there is one."""
    if slots.mixer != "attention_convolution":
        return None
    return Convolution(dim, *default_reach(slots.pattern))


def reach_of(pattern: Pattern) -> tuple[int, int]:
    """Return how many positions before and after its own a convolution reads under a pattern."""
    if isinstance(pattern, Window):
        return pattern.left, pattern.right
    return default_reach(pattern)


def default_reach(pattern: Pattern) -> tuple[int, int]:
    """Return the same where the pattern says only whether the future may be read."""
    return (2 * _REACH, 0) if pattern.is_causal else (_REACH, _REACH)
