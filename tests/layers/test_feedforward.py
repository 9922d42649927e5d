import pytest
import torch
import torch.nn.functional as F

from seqattn.layers.feedforward import FeedForward


@pytest.mark.parametrize(("kind", "function"), [("relu", F.relu), ("gelu", F.gelu)])
def test_feedforward_is_two_linear_layers_with_a_nonlinearity_between(kind, function):
    layer = FeedForward(4, 6, kind=kind, dropout=0.0)
    x = torch.randn(3, 4)

    wanted = function(x @ layer.expand.weight.T + layer.expand.bias)
    wanted = wanted @ layer.contract.weight.T + layer.contract.bias

    torch.testing.assert_close(layer(x), wanted)


def test_feedforward_swiglu_gates_the_second_half():
    layer = FeedForward(4, 6, kind="swiglu", dropout=0.0)
    x = torch.randn(3, 4)

    both = F.linear(x, layer.expand.weight, layer.expand.bias)
    gate, inner = both[:, :6], both[:, 6:]
    wanted = F.linear(gate * torch.sigmoid(gate) * inner, layer.contract.weight)

    torch.testing.assert_close(layer(x), wanted + layer.contract.bias)


@pytest.mark.parametrize("kind", ["relu", "gelu", "swiglu"])
def test_feedforward_gives_the_same_and_leaves_its_input_alone_without_gradients(kind):
    layer = FeedForward(4, 6, kind=kind, dropout=0.0)
    x = torch.randn(3, 4)
    before = x.clone()

    with torch.no_grad():
        found = layer(x)

    torch.testing.assert_close(found, layer(x))
    assert torch.equal(x, before)


def test_feedforward_treats_every_position_alone():
    layer = FeedForward(4, 6, kind="gelu", dropout=0.0).double()
    x = torch.randn(3, 4, dtype=torch.float64)

    torch.testing.assert_close(layer(x[1:2]), layer(x)[1:2], atol=1e-12, rtol=0)
