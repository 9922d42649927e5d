import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from memory_meter import memory_of
from packed_oracle import (
    HEADS,
    LENGTHS,
    assert_same_function,
    packed_reference,
    random_edges,
    random_heads,
)

from seqattn import Encoder
from seqattn.attention.edge_list import edge_list_attention
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Edges
from seqattn.attention.reference import attend
from seqattn.packing import Packing


def make_edges(lengths, density, self_loops):
    index = random_edges(lengths, density)
    return index, EdgeList.from_index(index, Packing.from_lengths(lengths), self_loops=self_loops)


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize(
    "term", ["none", "bias", "multiplier", "alibi", "alibi bias", "alibi multiplier"]
)
@settings(max_examples=4, deadline=None)
@given(lengths=LENGTHS, heads=HEADS, density=st.sampled_from([0.0, 0.2, 1.0]))
@example(lengths=[], heads=2, density=0.0)
def test_edge_list_attention_equals_the_reference(self_loops, score, term, lengths, heads, density):
    query, key, value = random_heads(lengths, heads)
    index, edges = make_edges(lengths, density, self_loops)
    weight = torch.rand(index.shape[1], heads, dtype=torch.float64).round(decimals=1)
    weight.requires_grad_()
    vector = torch.randn(heads, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if score == "additive" else None
    slopes = alibi_slopes(heads).double() if "alibi" in term else None

    out = edge_list_attention(
        query,
        key,
        value,
        edges,
        scale=0.5,
        slopes=slopes,
        score_vector=own_vector,
        bias=edges.spread(weight, heads, loop=0.0) if "bias" in term else None,
        multiplier=edges.spread(weight, heads, loop=1.0) if "multiplier" in term else None,
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
        edge_bias=weight if "bias" in term else None,
        edge_multiplier=weight if "multiplier" in term else None,
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


GAPS = [0, 8, 20, 90, 200]


def gap_inputs(gap, dtype):
    """One query that sees a key of weight 0 and one of weight 1, whose score is lower by `gap`."""
    query = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    key = torch.tensor([[0.0, 0.0], [float(gap), 0.0], [0.0, 0.0]])
    value = torch.tensor([[0.0], [3.0], [2.0]])
    weight = torch.tensor([[0.0, 1.0]])
    heads = [x[:, None].to(dtype).requires_grad_() for x in (query, key, value)]
    return heads, weight.to(dtype).requires_grad_()


def attend_across_the_gap(kernel, heads, weight):
    packing = Packing.from_lengths([3])
    index = torch.tensor([[1, 2], [0, 0]])
    edges = EdgeList.from_index(index, packing, self_loops=False)
    if kernel == "edge_list":
        return edge_list_attention(*heads, edges, scale=1.0, multiplier=weight)
    if kernel == "padded":
        terms = EdgeTerms(edges, True, multiplier=weight)
        return padded_attention(*heads, packing, pattern=Edges(False), scale=1.0, terms=terms)
    mask = torch.tensor([[False, True, True]] + [[False] * 3] * 2)
    multiplier = torch.zeros(1, 3, 3, dtype=weight.dtype)
    multiplier = multiplier.index_put((torch.tensor(0), index[1], index[0]), weight[0])
    own = (x.transpose(0, 1) for x in heads)
    return attend(*own, scale=1.0, mask=mask, multiplier=multiplier)[0].transpose(0, 1)


@pytest.mark.parametrize("kernel", ["reference", "padded", "edge_list"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("gap", GAPS)
def test_a_key_of_weight_zero_takes_no_part_however_high_its_score(gap, dtype, kernel):
    heads, weight = gap_inputs(gap, dtype)

    out = attend_across_the_gap(kernel, heads, weight)
    out.sum().backward()

    assert out.flatten().tolist() == [2.0, 0.0, 0.0]
    assert all(torch.isfinite(x.grad).all() for x in (*heads, weight))
    assert heads[2].grad.flatten().tolist() == [0.0, 0.0, 1.0]
    # d out / d w = exp(gap) (3 - 2), the largest number where that is too large.
    most = torch.finfo(dtype).max
    wanted = min(math.exp(gap), most)
    tolerance = 0.01 if wanted < 0.8 * most else 0.9
    assert weight.grad[0].tolist() == pytest.approx([wanted, 0.0], rel=tolerance)


@pytest.mark.parametrize("kernel", ["reference", "padded", "edge_list"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("gap", GAPS)
def test_keys_that_all_have_weight_zero_give_zeros_and_no_gradient(gap, dtype, kernel):
    heads, weight = gap_inputs(gap, dtype)
    weight = torch.zeros_like(weight).requires_grad_()

    out = attend_across_the_gap(kernel, heads, weight)
    out.sum().backward()

    assert not out.any()
    for x in (*heads, weight):
        assert not x.grad.any()


@pytest.mark.parametrize("weight", [1e-30, 1e30])
@pytest.mark.parametrize("kernel", ["reference", "padded", "edge_list"])
def test_a_tiny_or_huge_weight_is_divided_out(kernel, weight):
    heads, _ = gap_inputs(0, torch.float32)
    both = torch.tensor([[weight, weight]], requires_grad=True)

    out = attend_across_the_gap(kernel, heads, both)
    out.sum().backward()

    assert out.flatten().tolist() == pytest.approx([2.5, 0.0, 0.0])
    assert torch.isfinite(both.grad).all()


def ring_memory(nodes, *, score_vector=None, has_weights=False):
    ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    edges = EdgeList.from_index(ring, Packing.from_lengths([nodes]), self_loops=True)
    heads = [torch.randn(nodes, 2, 4, requires_grad=True) for _ in range(3)]
    weight = torch.rand(2, len(edges), requires_grad=True) if has_weights else None

    def function(query, key, value):
        terms = {"score_vector": score_vector, "multiplier": weight}
        return edge_list_attention(query, key, value, edges, scale=0.5, **terms)

    return memory_of(function, *heads)


@pytest.mark.parametrize(
    "terms", [{}, {"has_weights": True}, {"score_vector": torch.ones(2, 4)}], ids=str
)
def test_memory_grows_with_the_edges_and_not_with_the_square_of_the_nodes(terms):
    few, many = ring_memory(1000, **terms), ring_memory(4000, **terms)

    assert many.largest <= 4.1 * few.largest
    assert many.total <= 4.1 * few.total


@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace:UserWarning")
def test_an_encoder_along_edges_compiles():
    torch._dynamo.reset()
    slots = {"pattern": Edges(), "kernel": "edge_list", "position": "none", "feedforward": "none"}
    encoder = Encoder(8, 1, 2, dropout=0.0, **slots)
    x, index = torch.randn(3, 8), torch.tensor([[0, 1], [1, 2]])
    offsets = torch.tensor([0, 3])
    expected = encoder(x, offsets, index)
    wanted = torch.autograd.grad(expected.square().sum(), encoder.parameters())

    out = torch.compile(encoder, backend="eager")(x, offsets, index)

    torch.testing.assert_close(out, expected)
    found = torch.autograd.grad(out.square().sum(), encoder.parameters())
    torch.testing.assert_close(found, wanted)
