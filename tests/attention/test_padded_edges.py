"""The padded kernel with edges and with the additive score."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packed_oracle import (
    HEADS,
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
from seqattn.attention.kernels import Scoring, run_aggregate, run_attention
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_aggregate, padded_attention
from seqattn.attention.patterns import Causal, Edges, Full, Window
from seqattn.packing import Packing


@pytest.mark.parametrize("pattern", [Edges(True), Edges(False)], ids=["loops", "no-loops"])
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize(
    "term", ["none", "bias", "multiplier", "alibi", "alibi bias", "alibi multiplier"]
)
@settings(max_examples=4, deadline=None)
@given(lengths=LENGTHS, heads=HEADS, density=st.sampled_from([0.0, 0.2, 1.0]))
@example(lengths=[], heads=2, density=0.0)
def test_padded_attention_with_edges_equals_the_reference(
    pattern, score, term, lengths, heads, density
):
    query, key, value = random_heads(lengths, heads)
    index = random_edges(lengths, density)
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(index, packing, self_loops=pattern.self_loops)
    weight = torch.rand(index.shape[1], heads, dtype=torch.float64).round(decimals=1)
    weight.requires_grad_()
    vector = torch.randn(heads, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    slopes = alibi_slopes(heads).double() if "alibi" in term else None

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
            bias=edges.spread(weight, heads, loop=0.0) if "bias" in term else None,
            multiplier=edges.spread(weight, heads, loop=1.0) if "multiplier" in term else None,
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
        edge_bias=weight if "bias" in term else None,
        edge_multiplier=weight if "multiplier" in term else None,
    )
    assert_same_function(out, expected, (query, key, value, weight, vector))


@pytest.mark.parametrize(
    "pattern", [Full(), Causal(), Window(2, 1)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("with_alibi", [False, True])
@settings(max_examples=4, deadline=None)
@given(lengths=LENGTHS, heads=HEADS)
@example(lengths=[], heads=2)
def test_edge_bias_under_a_pattern_of_distance_equals_the_reference(
    pattern, score, with_alibi, lengths, heads
):
    query, key, value = random_heads(lengths, heads)
    index = random_edges(lengths, 0.3)
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(index, packing, self_loops=False)
    weight = torch.randn(index.shape[1], dtype=torch.float64, requires_grad=True)
    vector = torch.randn(heads, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    slopes = alibi_slopes(heads).double() if with_alibi else None
    bias = edges.spread(weight, heads, loop=0.0)

    out = padded_attention(
        query,
        key,
        value,
        packing,
        pattern=pattern,
        scale=0.5,
        slopes=slopes,
        score_vector=own_vector,
        terms=EdgeTerms(edges, False, bias=bias),
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
        edge_bias=weight[:, None],
    )
    assert_same_function(out, expected, (query, key, value, weight, vector))


@settings(max_examples=8, deadline=None)
@given(
    lengths=LENGTHS,
    heads=HEADS,
    density=st.sampled_from([0.0, 0.3, 1.0]),
    self_loops=st.booleans(),
)
@example(lengths=[], heads=2, density=0.0, self_loops=True)
def test_both_aggregates_equal_the_weighted_sum(lengths, heads, density, self_loops):
    _, _, value = random_heads(lengths, heads)
    index = random_edges(lengths, density)
    edges = EdgeList.from_index(index, Packing.from_lengths(lengths), self_loops=self_loops)
    weights = torch.rand(heads, len(edges), dtype=torch.float64, requires_grad=True)
    total = sum(lengths)
    entries = (torch.arange(heads)[:, None], edges.target, edges.source)

    for kernel in (edge_list_aggregate, padded_aggregate):
        dense = torch.zeros(heads, total, total, dtype=torch.float64).index_put(entries, weights)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
@pytest.mark.parametrize("term", ["none", "multiplier", "zero multiplier", "additive"])
def test_a_node_that_sees_nothing_gives_zeros_and_no_gradient(dtype, kernel, term):
    packing = Packing.from_lengths([3])
    edges = EdgeList.from_index(torch.tensor([[0], [1]]), packing, self_loops=False)
    heads = [x.detach().to(dtype).requires_grad_() for x in random_heads([3])]
    vector = torch.ones(2, 4, dtype=dtype) if term == "additive" else None
    weight = float(term != "zero multiplier")
    factor = torch.full((2, 1), weight, dtype=dtype) if "multiplier" in term else None
    scoring = Scoring(
        Edges(False), 1.0, score_vector=vector, terms=EdgeTerms(edges, True, multiplier=factor)
    )

    out = run_attention(*heads, packing, scoring, kernel)
    out.sum().backward()

    assert not out[[0, 2]].any()
    assert out[1].all() if weight else not out[1].any()
    for x in heads:
        assert torch.isfinite(x.grad).all()
        assert not x.grad[2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
def test_a_node_that_sees_nothing_gives_zeros_and_no_gradient_when_weights_replace(dtype, kernel):
    edges = EdgeList.from_index(
        torch.tensor([[0, 2], [1, 0]]), Packing.from_lengths([3]), self_loops=False
    )
    value = random_heads([3])[2].detach().to(dtype).requires_grad_()
    weights = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=dtype, requires_grad=True)

    out = run_aggregate(value, normalize_by_target(weights, edges), edges, kernel)
    out.sum().backward()

    assert not out[[0, 2]].any()
    torch.testing.assert_close(out[1], value[0])
    assert torch.isfinite(weights.grad).all()
    assert value.grad[0].all()
    assert not value.grad[1:].any()
