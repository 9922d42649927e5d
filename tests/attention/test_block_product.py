"""The kernel by hand: what the tests of the padded kernel do not reach."""

import dataclasses

import pytest
import torch
from packed_oracle import assert_same_function, packed_reference, random_edges, random_heads

from seqattn.attention import spans
from seqattn.attention.block_product import block_attention
from seqattn.attention.blocks import gather_rows
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms, Masks
from seqattn.attention.patterns import Causal, Edges, Full
from seqattn.packing import Packing

LENGTHS = [5, 4, 2]


def test_gradients_are_those_of_the_weights_that_were_kept():
    heads = random_heads(LENGTHS)
    masks = Masks(Packing.from_lengths(LENGTHS), Full(), None, None, heads[0])

    def function(query, key, value):
        torch.manual_seed(0)  # the same weights are dropped in every call
        return block_attention(query, key, value, masks, 0.5, 128)

    assert torch.autograd.gradcheck(function, heads)


def test_gradient_of_the_edge_bias_is_of_the_weights_that_were_kept():
    query, key, value = random_heads(LENGTHS)
    packing = Packing.from_lengths(LENGTHS)
    edges = EdgeList.from_index(random_edges(LENGTHS, 0.4), packing, self_loops=False)
    bias = torch.randn(2, len(edges), dtype=torch.float64, requires_grad=True)

    def function(bias):
        torch.manual_seed(0)
        masks = Masks(packing, Edges(False), None, EdgeTerms(edges, True, bias=bias), query)
        return block_attention(query, key, value, masks, 0.5, 64)

    assert torch.autograd.gradcheck(function, (bias,))


def random_terms(packing: Packing, rows: int) -> EdgeTerms:
    """Return a bias of the edges and its gain, which want gradients."""
    index = random_edges(list(packing.lengths), 0.4)
    edges = EdgeList.from_index(index, packing, self_loops=True)
    bias = torch.randn(rows, len(edges), dtype=torch.float64, requires_grad=True)
    gain = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    return EdgeTerms(edges, True, bias=bias, gain=gain)


@pytest.mark.parametrize("pattern", [Edges(), Full()], ids=["edges", "full"])
@pytest.mark.parametrize("rows", [1, 2], ids=["shared", "per head"])
@pytest.mark.parametrize("together", [1, 2**17])
def test_bias_times_gain_has_the_gradients_of_the_formula(pattern, rows, together, monkeypatch):
    monkeypatch.setattr(spans, "_TOGETHER", together)  # a sequence at a time, or all at once
    heads, packing = random_heads(LENGTHS), Packing.from_lengths(LENGTHS)
    terms = dataclasses.replace(random_terms(packing, rows), is_pattern=isinstance(pattern, Edges))
    edges, inputs = terms.edges, (*heads, terms.bias, terms.gain)

    out = block_attention(*heads, Masks(packing, pattern, None, terms, heads[0]), 0.5)

    expected = packed_reference(
        *heads,
        LENGTHS,
        pattern=pattern,
        edge_index=torch.stack([edges.source, edges.target]),
        edge_bias=(terms.bias * terms.gain[:, None]).T,
    )
    assert_same_function(out, expected, inputs)


@pytest.mark.parametrize("slopes", [None, torch.tensor([0.5, 0.25], dtype=torch.float64)])
def test_output_is_the_same_without_gradients(slopes):
    heads, packing = random_heads(LENGTHS), Packing.from_lengths(LENGTHS)
    masks = Masks(packing, Causal(), slopes, None, heads[0])
    learning = block_attention(*heads, masks, 0.5)
    with torch.no_grad():
        assert torch.equal(block_attention(*heads, masks, 0.5), learning)
    assert learning.requires_grad


def test_a_gain_that_is_fixed_gets_no_gradient():
    heads, packing = random_heads(LENGTHS), Packing.from_lengths(LENGTHS)
    terms = random_terms(packing, 1)
    fixed = dataclasses.replace(terms, gain=terms.gain.detach())
    out = block_attention(*heads, Masks(packing, Edges(), None, fixed, heads[0]), 0.5)
    out.sum().backward()
    assert terms.bias.grad is not None
    assert terms.gain.grad is None


def test_rows_are_the_same_when_heads_are_a_slice_of_a_projection():
    packing = Packing.from_lengths(LENGTHS)
    projected = torch.randn(packing.total, 18)
    for part in projected.split([6, 6, 6], dim=-1):
        heads = part.unflatten(-1, (2, 3))
        assert torch.equal(gather_rows(heads, packing), gather_rows(heads.contiguous(), packing))
