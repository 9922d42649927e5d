"""The padded kernel with edges and with the additive score."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_oracle import (
    LENGTHS,
    assert_same_function,
    packed_reference,
    random_edges,
    random_heads,
)

from seqattn.attention.edge_list import (
    edge_list_aggregate,
    edge_list_attention,
    normalize_by_target,
)
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_aggregate, padded_attention
from seqattn.attention.patterns import Causal, Edges, Full, Window
from seqattn.packing import Packing


@pytest.mark.parametrize("pattern", [Edges(True), Edges(False)], ids=["loops", "no-loops"])
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("term", ["none", "bias", "multiplier", "alibi"])
@settings(max_examples=4, deadline=None)
@given(lengths=LENGTHS, density=st.sampled_from([0.0, 0.2, 1.0]))
def test_padded_attention_with_edges_equals_the_reference(pattern, score, term, lengths, density):
    query, key, value = random_heads(lengths)
    index = random_edges(lengths, density)
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(index, packing, self_loops=pattern.self_loops)
    weight = torch.rand(index.shape[1], 2, dtype=torch.float64).round(decimals=1).requires_grad_()
    vector = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    slopes = alibi_slopes(2).double() if term == "alibi" else None

    out = padded_attention(
        query,
        key,
        value,
        packing,
        pattern=pattern,
        scale=0.5,
        slopes=slopes,
        score_vector=own_vector,
        terms=EdgeTerms(
            edges,
            True,
            bias=edges.spread(weight, 2, loop=0.0) if term == "bias" else None,
            multiplier=edges.spread(weight, 2, loop=1.0) if term == "multiplier" else None,
        ),
    )

    expected = packed_reference(
        query,
        key,
        value,
        lengths,
        pattern=pattern,
        slopes=slopes,
        score_vector=own_vector,
        edge_index=index,
        edge_bias=weight if term == "bias" else None,
        edge_multiplier=weight if term == "multiplier" else None,
    )
    assert_same_function(out, expected, (query, key, value, weight, vector))


@pytest.mark.parametrize(
    "pattern", [Full(), Causal(), Window(2, 1)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("score", ["dot", "additive"])
@settings(max_examples=5, deadline=None)
@given(lengths=LENGTHS)
def test_edge_bias_under_a_pattern_of_distance_equals_the_reference(pattern, score, lengths):
    query, key, value = random_heads(lengths)
    index = random_edges(lengths, 0.3)
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(index, packing, self_loops=False)
    weight = torch.randn(index.shape[1], dtype=torch.float64, requires_grad=True)
    vector = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    bias = edges.spread(weight, 2, loop=0.0)

    out = padded_attention(
        query,
        key,
        value,
        packing,
        pattern=pattern,
        scale=0.5,
        score_vector=own_vector,
        terms=EdgeTerms(edges, False, bias=bias),
    )

    expected = packed_reference(
        query,
        key,
        value,
        lengths,
        pattern=pattern,
        score_vector=own_vector,
        edge_index=index,
        edge_bias=weight[:, None],
    )
    assert_same_function(out, expected, (query, key, value, weight, vector))


@settings(max_examples=8, deadline=None)
@given(lengths=LENGTHS, density=st.sampled_from([0.0, 0.3, 1.0]), self_loops=st.booleans())
def test_both_aggregates_equal_the_weighted_sum(lengths, density, self_loops):
    _, _, value = random_heads(lengths)
    index = random_edges(lengths, density)
    edges = EdgeList.from_index(index, Packing.from_lengths(lengths), self_loops=self_loops)
    weights = torch.rand(2, len(edges), dtype=torch.float64, requires_grad=True)
    total = sum(lengths)
    entries = (torch.arange(2)[:, None], edges.target, edges.source)

    for kernel in (edge_list_aggregate, padded_aggregate):
        dense = torch.zeros(2, total, total, dtype=torch.float64).index_put(entries, weights)
        expected = (dense @ value.transpose(0, 1)).transpose(0, 1)
        assert_same_function(kernel(value, weights, edges), expected, (value, weights))


def test_replacing_by_a_softmax_equals_attention_with_those_scores():
    lengths = [5, 3]
    query, key, value = random_heads(lengths)
    complete = random_edges(lengths, 1.1)
    edges = EdgeList.from_index(complete, Packing.from_lengths(lengths), self_loops=True)
    scores = 0.5 * (query[edges.target] * key[edges.source]).sum(-1).T  # (H, E')

    weights = normalize_by_target(scores.exp(), edges)

    expected = packed_reference(query, key, value, lengths, pattern=Full())
    torch.testing.assert_close(edge_list_aggregate(value, weights, edges), expected)


def test_a_complete_graph_equals_full_attention():
    lengths = [5, 3, 1]
    heads = random_heads(lengths)
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(random_edges(lengths, 1.1), packing, self_loops=True)

    full = padded_attention(*heads, packing, pattern=Full(), scale=0.5)

    assert_same_function(edge_list_attention(*heads, edges, scale=0.5), full, heads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_node_that_sees_nothing_gives_zeros_and_no_gradient_in_every_kernel(dtype):
    packing = Packing.from_lengths([3])
    edges = EdgeList.from_index(torch.tensor([[0], [1]]), packing, self_loops=False)
    terms = EdgeTerms(edges, True)
    for kernel in ("padded", "edge_list"):
        heads = [x.detach().to(dtype).requires_grad_() for x in random_heads([3])]
        if kernel == "padded":
            out = padded_attention(*heads, packing, pattern=Edges(False), scale=1.0, terms=terms)
        else:
            out = edge_list_attention(*heads, edges, scale=1.0)
        out.sum().backward()
        assert not out[[0, 2]].any()
        assert out[1].all()
        for x in heads:
            assert torch.isfinite(x.grad).all()
            assert not x.grad[2].any()
