"""Multi-head attention along edges, against the field's own modules."""

import pytest
import torch
from torch import nn

from seqattn.attention.layout import Layout
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.patterns import Edges
from seqattn.packing import Packing

INDEX = torch.tensor([[0, 1, 2, 5, 4, 6, 3], [1, 0, 1, 4, 5, 5, 3]])
PACKING = Packing.from_lengths([4, 3])


@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
def test_attention_equals_pyg_transformer_conv_with_copied_weights(kernel):
    pytest.importorskip("torch_geometric", reason="needs the extra 'graph'")
    from torch_geometric.nn import TransformerConv

    theirs = TransformerConv(6, 3, heads=2, root_weight=False).double()
    ours = MultiHeadAttention(6, 2, pattern=Edges(self_loops=False), kernel=kernel).double()
    parts = (theirs.lin_query, theirs.lin_key, theirs.lin_value)
    with torch.no_grad():
        ours.project_in.weight.copy_(torch.cat([part.weight for part in parts]))
        ours.project_in.bias.copy_(torch.cat([part.bias for part in parts]))
        ours.project_out.weight.copy_(torch.eye(6))
    x = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)

    out, wanted = ours(x, Layout(PACKING, edge_index=INDEX)), theirs(x, INDEX)

    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)
    probe = torch.randn_like(out)
    (grad,) = torch.autograd.grad((out * probe).sum(), x, retain_graph=True)
    (other,) = torch.autograd.grad((wanted * probe).sum(), x)
    torch.testing.assert_close(grad, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
def test_heads_that_look_at_one_fixed_offset_each_equal_a_convolution(kernel):
    convolution = nn.Conv1d(6, 6, 3, padding=1).double()
    attention = MultiHeadAttention(
        6, 3, pattern=Edges(self_loops=False), edge_weight="replace", value_dim=6, kernel=kernel
    ).double()
    with torch.no_grad():
        attention.project_in.weight.copy_(convolution.weight.permute(2, 0, 1).reshape(18, 6))
        attention.project_out.weight.copy_(torch.eye(6).repeat(1, 3))
        attention.project_out.bias.copy_(convolution.bias)
    pairs = [(i + k - 1, i, k) for i in range(7) for k in range(3) if 0 <= i + k - 1 < 7]
    source, target, head = torch.tensor(pairs).T
    weight = nn.functional.one_hot(head, 3).double()
    x = torch.randn(7, 6, dtype=torch.float64)

    layout = Layout(
        Packing.from_lengths([7]), edge_index=torch.stack([source, target]), edge_weight=weight
    )

    torch.testing.assert_close(attention(x, layout), convolution(x.T[None])[0].T)


def test_bias_is_a_learned_gain_per_head_times_the_weight():
    attention = MultiHeadAttention(6, 2, pattern=Edges(), edge_weight="bias").double()
    assert attention.gain.tolist() == [1.0, 1.0]
    x = torch.randn(7, 6, dtype=torch.float64)
    weight = torch.randn(7, dtype=torch.float64)
    plain = attention(x, Layout(PACKING, edge_index=INDEX, edge_weight=weight))

    with torch.no_grad():
        attention.gain.fill_(2.0)

    halved = attention(x, Layout(PACKING, edge_index=INDEX, edge_weight=weight / 2))
    torch.testing.assert_close(halved, plain)
