"""The tap against the layer itself, for every slot, and against products written out by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from seqattn import Encoder, Packing, Window, attend
from seqattn.attention.layout import Layout
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.patterns import Causal, Edges, Full
from seqattn.attention.tap import head_contributions, tap_attention
from seqattn.layers.slots import LayerSlots, refuse

PACKING = Packing.from_lengths([3, 0, 1, 2])
INDEX = torch.tensor([[0, 1, 2, 5, 4], [1, 0, 2, 4, 5]])
WEIGHT = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0], dtype=torch.float64)
PATTERNS = (Full(), Causal(), Window(1, 0), Edges(), Edges(self_loops=False))
WEIGHTS = ("ignore", "bias", "multiply", "replace")
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "alibi")
EDGES = {
    "edges": (INDEX, None),
    "weights": (INDEX, WEIGHT),
    "weights per head": (INDEX, torch.stack([WEIGHT, WEIGHT.flip(0)], dim=1)),
    "no edge": (INDEX[:, :0], None),
    "none": (None, None),
}


def listen(encoder: Encoder, *edges: Any) -> tuple[MultiHeadAttention, Any, torch.Tensor]:
    """Run an encoder; return its first attention, that layer's inputs and its update."""
    heard: list[Any] = []
    attention = encoder.layers[0].mixer
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    attention.register_forward_hook(lambda _, inputs, output: heard.append((inputs, output)))
    x = torch.randn(PACKING.total, encoder.dim, dtype=torch.float64)
    encoder(x, PACKING.offsets, *edges)
    return attention, *heard[0]


@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES.keys())
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_contributions_add_up_to_the_layers_update_for_every_slot(score: Any, edges: Any) -> None:
    tried = 0
    for pattern, weight, position in itertools.product(PATTERNS, WEIGHTS, POSITIONS):
        slots: Any = (score, pattern, weight, position, "pre", "layer", "gelu")
        if refuse(LayerSlots("attention", *slots)) or (weight == "replace" and edges[0] is None):
            continue
        names = ("score", "pattern", "edge_weight", "position")
        options: Any = dict(zip(names, slots, strict=False))
        encoder = Encoder(4, 1, 2, head_dim=2, value_dim=3, dropout=0.0, **options).double()
        attention, inputs, update = listen(encoder, *edges)
        found = tap_attention(attention, *inputs, [0, 1])
        parts = [head_contributions(attention, own.outputs, [0, 1]).sum(0) for own in found]
        total = torch.cat(parts) + attention.project_out.bias
        torch.testing.assert_close(total, update, rtol=1e-12, atol=1e-12)
        tried += 1
    assert tried > 20


def make(**options: Any) -> tuple[MultiHeadAttention, torch.Tensor]:
    attention = MultiHeadAttention(6, 3, **{"pattern": Full(), **options}).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention, torch.randn(4, 6, dtype=torch.float64)


def test_concatenated_heads_equal_the_sum_over_heads_of_their_products() -> None:
    attention, x = make()
    layout = Layout(Packing.from_lengths([4]))
    query, key, value = attention.project_in.weight.view(3, 3, 2, 6)  # (H, K, D) each
    b_query, b_key, b_value = attention.project_in.bias.view(3, 3, 1, 2)
    up = attention.project_out.weight.T.view(3, 2, 6)  # (H, K_value, D)
    total = attention.project_out.bias.expand(4, 6)
    (found,) = tap_attention(attention, x, layout, [0, 1, 2])
    for head in range(3):
        q, k = x @ query[head].T + b_query[head], x @ key[head].T + b_key[head]
        weights = (q @ k.T / 2**0.5).softmax(-1)
        torch.testing.assert_close(found.weights[head], weights, rtol=0, atol=1e-12)
        total = total + weights @ (x @ value[head].T + b_value[head]) @ up[head]

    torch.testing.assert_close(attention(x, layout), total, rtol=0, atol=1e-12)


def test_weights_are_those_of_attend_with_copied_weights() -> None:
    attention, x = make(pattern=Causal(), score="additive", position="alibi")
    query, key, value = attention.project_in(x).view(4, 3, 3, 2).permute(1, 2, 0, 3)
    steps = torch.arange(4)
    distance = steps[None, :] - steps[:, None]
    slopes = torch.tensor([2 ** (-8 / 3), 2 ** (-16 / 3), 2**-8.0], dtype=torch.float64)
    output, weights = attend(
        query,
        key,
        value,
        score="additive",
        score_vector=attention.score_vector,
        mask=distance <= 0,
        bias=-distance.abs() * slopes[:, None, None],
    )
    (found,) = tap_attention(attention, x, Layout(Packing.from_lengths([4])), [0, 1, 2])
    torch.testing.assert_close(found.weights, weights, rtol=0, atol=1e-7)  # slopes are float32
    torch.testing.assert_close(found.outputs, output, rtol=0, atol=1e-6)


def test_heads_come_in_the_order_asked_for() -> None:
    attention, x = make()
    layout = Layout(Packing.from_lengths([1, 3]))
    every = tap_attention(attention, x, layout, [0, 1, 2])
    some = tap_attention(attention, x, layout, [2, 0])
    for all_heads, two in zip(every, some, strict=True):
        torch.testing.assert_close(two.weights, all_heads.weights[[2, 0]], rtol=0, atol=1e-12)
        torch.testing.assert_close(
            head_contributions(attention, two.outputs, [2, 0]),
            head_contributions(attention, all_heads.outputs, [0, 1, 2])[[2, 0]],
            rtol=0,
            atol=1e-12,
        )


def test_replaced_weights_are_the_rows_of_the_edge_weights() -> None:
    attention, x = make(pattern=Edges(self_loops=False), edge_weight="replace")
    index = torch.tensor([[0, 1, 2], [3, 3, 0]])
    layout = Layout(Packing.from_lengths([4]), None, index, torch.tensor([1.0, 3.0, 5.0]))
    (found,) = tap_attention(attention, x, layout, [1])
    expected = [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0.25, 0.75, 0, 0]]
    assert found.weights.tolist() == [expected]


def test_half_precision_is_computed_in_single() -> None:
    attention, x = make()
    half = attention.to(torch.bfloat16)
    (found,) = tap_attention(half, x.bfloat16(), Layout(Packing.from_lengths([4])), [0])
    assert found.weights.dtype == torch.float32
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(1, 4))
