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

from seqattn.attention.edge_list import edge_list_attention
from seqattn.attention.edges import EdgeList
from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.patterns import Edges
from seqattn.packing import Packing


def make_edges(lengths, density, self_loops):
    index = random_edges(lengths, density)
    return index, EdgeList.from_index(index, Packing.from_lengths(lengths), self_loops=self_loops)


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("term", ["none", "bias", "multiplier", "alibi"])
@settings(max_examples=5, deadline=None)
@given(lengths=LENGTHS, density=st.sampled_from([0.0, 0.2, 1.0]))
def test_edge_list_attention_equals_the_reference(self_loops, score, term, lengths, density):
    query, key, value = random_heads(lengths)
    index, edges = make_edges(lengths, density, self_loops)
    weight = torch.rand(index.shape[1], 2, dtype=torch.float64).round(decimals=1).requires_grad_()
    vector = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    slopes = alibi_slopes(2).double() if term == "alibi" else None

    out = edge_list_attention(
        query,
        key,
        value,
        edges,
        scale=0.5,
        slopes=slopes,
        score_vector=own_vector,
        bias=edges.spread(weight, 2, loop=0.0) if term == "bias" else None,
        multiplier=edges.spread(weight, 2, loop=1.0) if term == "multiplier" else None,
    )

    expected = packed_reference(
        query,
        key,
        value,
        lengths,
        pattern=Edges(self_loops),
        slopes=slopes,
        score_vector=own_vector,
        edge_index=index,
        edge_bias=weight if term == "bias" else None,
        edge_multiplier=weight if term == "multiplier" else None,
    )
    assert_same_function(out, expected, (query, key, value, weight, vector))


def test_edge_list_attention_passes_gradcheck():
    lengths = [3, 2]
    index, edges = make_edges(lengths, 0.5, False)
    weight = torch.rand(2, index.shape[1], dtype=torch.float64, requires_grad=True)

    def function(query, key, value, weight):
        return edge_list_attention(query, key, value, edges, scale=0.5, multiplier=weight)

    heads = random_heads(lengths, head_dim=2, value_dim=2)
    assert torch.autograd.gradcheck(function, (*heads, weight))


def test_a_weight_of_zero_has_a_finite_gradient_when_multiplied():
    index, edges = make_edges([4], 1.0, False)
    weight = torch.zeros(2, index.shape[1], requires_grad=True)
    heads = tuple(x.float() for x in random_heads([4]))

    out = edge_list_attention(*heads, edges, scale=1.0, multiplier=weight)
    out.sum().backward()

    assert not out.any()
    assert torch.isfinite(weight.grad).all()


def test_memory_grows_with_the_edges_and_not_with_the_square_of_the_nodes():
    def peak(nodes):
        ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
        edges = EdgeList.from_index(ring, Packing.from_lengths([nodes]), self_loops=True)
        heads = [torch.randn(nodes, 2, 4, requires_grad=True) for _ in range(3)]
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            edge_list_attention(*heads, edges, scale=0.5)
        return sum(sizes)

    assert peak(4000) <= 4.2 * peak(1000)
