"""The tap: what the heads of an attention layer do, by the reference, from the layer's inputs.

The layer itself keeps its kernel. What is computed here is the same formula a second time, for
chosen heads, one sequence after the other, written to be read and not to be fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqattn.attention.cross import CrossAttention
from seqattn.attention.layout import Layout
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.pairs import Pairs
from seqattn.attention.patterns import Edges
from seqattn.attention.reference import attend
from seqattn.attention.rotary import rotate


@dataclass(frozen=True)
class HeadReadings:
    """What h chosen heads of one layer do in one sequence.

    Args:
        weights: how much each position (row) reads of each (column). Shape: (h, L, L), or
            (h, L, M) of a memory.
        outputs: what each position reads. Shape: (h, L, K_value).
    """

    weights: Tensor
    outputs: Tensor


def tap_attention(
    attention: MultiHeadAttention, x: Tensor, layout: Layout, heads: Sequence[int]
) -> list[HeadReadings]:
    """Return weights and outputs of chosen heads for every sequence of a batch, by `attend`.

    Half precision is computed in float32; dropout is none of a head's doing and left out.

    Args:
        attention: the layer.
        x: the input of the layer, (T, D).
        layout: the one that the layer was given with it.
        heads: their numbers, in 0 … H - 1.
    """
    chosen = torch.as_tensor(heads, dtype=torch.int64, device=x.device)
    query, key, value = (part[chosen] for part in project_heads(attention, x, layout))
    terms = _terms(attention, layout, query)
    lengths = layout.packing.lengths
    parts = zip(
        *(torch.split(part, list(lengths), dim=1) for part in (query, key, value)),
        _masks(attention, layout, terms),
        _biases(attention, layout, terms, chosen, query.dtype),
        _multipliers(layout, terms, chosen),
        strict=True,
    )
    vector = attention.score_vector
    score_vector = None if vector is None else vector[chosen].to(query.dtype)
    readings = []
    for own_query, own_key, own_value, mask, bias, multiplier in parts:
        output, weights = attend(
            own_query,
            own_key,
            own_value,
            score="dot" if score_vector is None else "additive",
            score_vector=score_vector,
            scale=attention.scale,
            mask=mask,
            bias=bias,
            multiplier=multiplier,
        )
        readings.append(HeadReadings(weights, output))
    return readings


def tap_cross(
    attention: CrossAttention, x: Tensor, memory: Tensor, pairs: Pairs, heads: Sequence[int]
) -> list[HeadReadings]:
    """Return the same of a cross-attention, for every sequence and its memory.

    Args:
        attention: the layer.
        x: what reads, (T_y, D).
        memory: what is read, (T, D).
        pairs: the ones that the layer was given with them.
        heads: their numbers, in 0 … H - 1.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    chosen = torch.as_tensor(heads, dtype=torch.int64, device=x.device)
    query, key, value = (
        part[:, chosen].transpose(0, 1).to(exact)
        for part in (attention.ask(x), *attention.read(memory))
    )  # (h, T, K)
    vector = attention.score_vector
    sides = zip(
        query.split(list(pairs.queries.lengths), dim=1),
        key.split(list(pairs.memory.lengths), dim=1),
        value.split(list(pairs.memory.lengths), dim=1),
        strict=True,
    )
    readings = []
    for own_query, own_key, own_value in sides:
        output, weights = attend(
            own_query,
            own_key,
            own_value,
            score="dot" if vector is None else "additive",
            score_vector=None if vector is None else vector[chosen].to(exact),
            scale=attention.scale,
        )
        readings.append(HeadReadings(weights, output))
    return readings


def project_heads(
    attention: MultiHeadAttention, x: Tensor, layout: Layout
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value of every head, turned by their positions with rotary.

    Where edge weights replace the attention there is no query and no key; zeros stand for them,
    under which `attend` gives the row-normalised edge weights.

    Shape:
        x (T, D). returns: (H, T, K), (H, T, K), (H, T, K_value).
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    keys = 0 if attention.edge_weight == "replace" else attention.head_dim
    widths = (keys, keys, attention.value_dim)
    parts = torch.split(attention.project_in(x), [attention.heads * w for w in widths], dim=-1)
    query, key, value = (
        part.reshape(len(x), attention.heads, width)
        for part, width in zip(parts, widths, strict=True)
    )
    value = value.transpose(0, 1).to(exact)  # (H, T, K_value)
    if not keys:
        nothing = value.new_zeros(attention.heads, len(x), 1)
        return nothing, nothing, value
    if attention.position == "rotary":
        query, key = rotate(query, layout.rotary), rotate(key, layout.rotary)
    return query.transpose(0, 1).to(exact), key.transpose(0, 1).to(exact), value


def head_contributions(
    attention: MultiHeadAttention | CrossAttention, outputs: Tensor, heads: Sequence[int]
) -> Tensor:
    """Return each head's change to each position, ``weights · X · W_value↓ · W_value↑``.

    The output projection of concatenated heads is a sum over the heads, each through its own
    columns of the matrix. The contributions of all heads and the projection's bias add up to the
    layer's update (Kobayashi et al. 2020, equation 5, without the input's split).

    Args:
        attention: the layer.
        outputs: what the heads read, the values' bias included.
        heads: their numbers, in 0 … H - 1.

    Shape:
        outputs (h, L, K_value). returns: (h, L, D).
    """
    weight = attention.project_out.weight
    columns = weight.reshape(len(weight), attention.heads, -1)  # (D, H, K_value)
    chosen = torch.as_tensor(heads, dtype=torch.int64, device=outputs.device)
    return outputs @ columns[:, chosen].permute(1, 2, 0).to(outputs.dtype)


def _terms(attention: MultiHeadAttention, layout: Layout, like: Tensor) -> EdgeTerms | None:
    """Return what the edges do in this layer; None where it does not read them."""
    pattern, kind = attention.pattern, attention.edge_weight
    is_pattern = isinstance(pattern, Edges)
    if not is_pattern and kind == "ignore":
        return None
    edges = layout.edges(self_loops=isinstance(pattern, Edges) and pattern.self_loops)
    if edges is None or kind == "ignore":
        return None if edges is None else EdgeTerms(edges, is_pattern)
    loop = 0.0 if kind == "bias" else 1.0
    weight = layout.weights_of(edges, attention.heads, loop=loop).to(like.dtype)  # (H, E')
    if attention.gain is None:
        return EdgeTerms(edges, is_pattern, multiplier=weight)
    return EdgeTerms(edges, is_pattern, bias=weight * attention.gain[:, None].to(like.dtype))


def _masks(
    attention: MultiHeadAttention, layout: Layout, terms: EdgeTerms | None
) -> Iterator[Tensor]:
    """Yield who sees whom in each sequence. Shape: (L, L) or (1, L, L)."""
    if terms is not None and terms.is_pattern:
        seen = torch.ones(1, len(terms.edges), dtype=torch.bool, device=terms.edges.source.device)
        yield from _dense(terms, seen, False)
        return
    for length in layout.packing.lengths:
        steps = torch.arange(length, device=layout.packing.positions.device)
        yield attention.pattern.allows(steps[None, :] - steps[:, None])  # key minus query


def _biases(
    attention: MultiHeadAttention,
    layout: Layout,
    terms: EdgeTerms | None,
    heads: Tensor,
    dtype: torch.dtype,
) -> Iterator[Tensor | None]:
    """Yield what is added to the scores of each sequence. Shape: (h, L, L), or None."""
    lengths = layout.packing.lengths
    added: Iterator[Tensor | None] = iter([None] * len(lengths))
    if terms is not None and terms.bias is not None:
        added = _dense(terms, terms.bias[heads], 0.0)
    positions = torch.split(layout.packing.positions, list(lengths))
    for own, bias in zip(positions, added, strict=True):
        if attention.slopes is None:
            yield bias
            continue
        slopes = attention.slopes[heads].to(dtype)
        penalty = -(own[None, :] - own[:, None]).abs() * slopes[:, None, None]
        yield penalty if bias is None else penalty + bias


def _multipliers(layout: Layout, terms: EdgeTerms | None, heads: Tensor) -> Iterator[Tensor | None]:
    """Yield what the weights of each sequence are multiplied by. Shape: (h, L, L), or None."""
    if terms is None or terms.multiplier is None:
        yield from [None] * len(layout.packing)
    else:
        yield from _dense(terms, terms.multiplier[heads], 0.0)


def _dense(terms: EdgeTerms, values: Tensor, fill: float) -> Iterator[Tensor]:
    """Yield values of the edges as the matrices of each sequence, `fill` off the edges.

    Shape:
        values (h, E'). yields: (h, L, L), a row per target and a column per source.
    """
    edges, offsets = terms.edges, terms.edges.packing.offsets
    order = edges.by_target
    source, target, values = edges.source[order], edges.target[order], values[:, order]
    bounds = torch.searchsorted(target, offsets).tolist()
    starts = offsets.tolist()
    for number, length in enumerate(edges.packing.lengths):
        own = slice(bounds[number], bounds[number + 1])
        matrix = values.new_full((len(values), length, length), fill)
        row, column = target[own] - starts[number], source[own] - starts[number]
        matrix[:, row, column] = values[:, own]
        yield matrix
