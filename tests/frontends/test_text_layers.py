import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.frontends.text_layers import (
    CharacterConvolution,
    LearnedSymbols,
    OneHotSymbols,
    VectorSymbols,
    average,
    drop_symbols,
)

IDS = torch.tensor([[1, 2, 3, 0], [2, 2, 2, -1], [4, -1, -1, -1], [-1, -1, -1, -1]])


@pytest.fixture
def convolution() -> CharacterConvolution:
    torch.manual_seed(0)
    layer = CharacterConvolution(characters=5, character_dim=3, dim=4).double()
    torch.nn.init.normal_(layer.bias)
    return layer


def convolve_slowly(layer: CharacterConvolution, ids: Tensor) -> Tensor:
    """Convolve one token at a time with torch's own convolution."""
    kernel = layer.kernel.permute(2, 1, 0)  # (filters, character_dim, 3)
    found = []
    for token in ids:
        inside = torch.tensor([layer.edge, *token[token >= 0].tolist(), layer.edge])
        if len(inside) == 2:
            found.append(torch.zeros_like(layer.bias))
            continue
        x = layer.embedding.weight[inside].T[None]  # (1, character_dim, n + 2)
        found.append(F.conv1d(x, kernel, layer.bias).relu().amax(2)[0])
    return torch.stack(found) @ layer.projection.weight.T


def test_convolution_equals_the_slow_one(convolution: CharacterConvolution):
    torch.testing.assert_close(convolution(IDS), convolve_slowly(convolution, IDS))


def test_convolution_has_the_gradients_of_the_slow_one(convolution: CharacterConvolution):
    weights = list(convolution.parameters())
    fast = torch.autograd.grad(convolution(IDS).sin().sum(), weights)
    slow = torch.autograd.grad(convolve_slowly(convolution, IDS).sin().sum(), weights)

    torch.testing.assert_close(fast, slow)


def test_packed_and_padded_pooling_agree(convolution: CharacterConvolution):
    places = torch.arange(3) * 6
    windows = F.pad(torch.where(IDS < 0, 5, IDS), (1, 1), value=5).unfold(1, 3, 1) + places
    tables = (convolution.embedding.weight @ convolution.kernel).flatten(0, 1)
    results = []
    for pool in (convolution._pool_packed, convolution._pool_padded):
        pooled = pool(windows, IDS >= 0, tables)
        gradient = torch.autograd.grad(
            pooled.sin().sum(), convolution.embedding.weight, retain_graph=True
        )
        results.append((pooled, *gradient))

    torch.testing.assert_close(results[0], results[1])


def test_token_keeps_every_bit_whatever_lies_beside_it(convolution: CharacterConvolution):
    layer = convolution.float()
    others = IDS.clone()
    others[1:] = torch.tensor([[0, 1, -1, -1], [3, 3, 3, 3], [1, -1, -1, -1]])

    assert torch.equal(layer(IDS)[0], layer(others)[0])


def test_convolution_sees_order_and_edges(convolution: CharacterConvolution):
    tokens = torch.tensor([[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 2, -1]])

    assert len(torch.unique(convolution(tokens), dim=0)) == 4


def test_convolution_of_no_tokens_is_empty(convolution: CharacterConvolution):
    out = convolution(torch.empty(0, 4, dtype=torch.int64))
    out.sum().backward()

    assert out.shape == (0, 4)


def test_one_hot_equals_a_linear_layer_on_one_hot_vectors():
    layer = OneHotSymbols(5, 3)
    ids = torch.tensor([4, 0, 0, 2])
    linear = torch.nn.Linear(5, 3)
    linear.load_state_dict({"weight": layer.kernel.T, "bias": layer.bias})

    torch.testing.assert_close(layer(ids), linear(F.one_hot(ids, 5).float()))
    torch.testing.assert_close(layer(torch.arange(5)), layer.weight)


def test_learned_symbols_start_with_unknown_at_zero():
    layer = LearnedSymbols(2_000, 64)

    assert torch.equal(layer(torch.tensor([0])), torch.zeros(1, 64))
    assert float(layer.weight.detach().std()) == pytest.approx(64**-0.5, rel=0.05)


@pytest.mark.parametrize("freeze", [True, False])
def test_vectors_are_projected_and_missing_ones_start_at_the_mean(freeze: bool):
    nan = float("nan")
    layer = VectorSymbols(4, 2, 2, 3, freeze=freeze)
    layer.fill(torch.tensor([[nan, nan], [1.0, 2.0], [nan, nan], [3.0, 6.0]]))
    full = torch.tensor([[2.0, 4.0], [1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])

    torch.testing.assert_close(layer.weight, layer.projection(full))
    torch.testing.assert_close(layer(torch.tensor([3, 0])), layer.projection(full[[3, 0]]))


def test_only_missing_vectors_learn_when_frozen():
    nan = float("nan")
    layer = VectorSymbols(3, 2, 1, 3, freeze=True)
    layer.fill(torch.tensor([[nan, nan], [1.0, 2.0], [3.0, 6.0]]))
    layer(torch.tensor([0, 1])).sum().backward()

    assert layer.table.grad is None
    assert layer.missing.weight.grad is not None
    assert layer.missing.weight.grad.abs().sum(1).gt(0).tolist() == [False, True]


def test_vectors_all_learn_when_not_frozen():
    layer = VectorSymbols(2, 2, 0, 3, freeze=False)
    layer.fill(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    layer(torch.tensor([0, 1])).sum().backward()

    assert layer.table.grad is not None
    assert layer.table.grad.abs().sum(1).gt(0).all()


def test_vectors_are_refused_when_nobody_gave_them():
    with pytest.raises(RuntimeError, match="the word vectors must come from fitting or from a"):
        VectorSymbols(2, 2, 1, 3, freeze=True)(torch.tensor([0]))


def test_average_leaves_padding_out():
    weight = torch.tensor([[0.0, 8.0], [2.0, 0.0], [4.0, 2.0]])

    torch.testing.assert_close(
        average(torch.tensor([[1, 2, -1], [0, -1, -1]]), weight),
        torch.tensor([[3.0, 1.0], [0.0, 8.0]]),
    )


def test_dropped_symbols_are_ordinary_ones():
    torch.manual_seed(0)
    ids = torch.arange(-1, 2_000)
    dropped = drop_symbols(ids, 0.25)

    assert torch.equal(dropped[:6], ids[:6])
    assert dropped[dropped != ids].eq(0).all()
    assert float((dropped != ids)[6:].float().mean()) == pytest.approx(0.25, abs=0.05)
