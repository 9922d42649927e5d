"""The kernel by hand: what the tests of the padded kernel do not reach."""

import torch
from packed_oracle import random_edges, random_heads

from seqattn.attention.block_product import block_attention
from seqattn.attention.blocks import gather_rows
from seqattn.attention.edges import EdgeList
from seqattn.attention.masks import EdgeTerms, Masks
from seqattn.attention.patterns import Edges, Full
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


def test_rows_are_the_same_when_heads_are_a_slice_of_a_projection():
    packing = Packing.from_lengths(LENGTHS)
    projected = torch.randn(packing.total, 18)
    for part in projected.split([6, 6, 6], dim=-1):
        heads = part.unflatten(-1, (2, 3))
        assert torch.equal(gather_rows(heads, packing), gather_rows(heads.contiguous(), packing))
