from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.attention import linear as module
from seqattn.attention.linear import Linear, linear

LARGE = (100, 200, 300)  # positions, and both widths: above the limit for oneDNN
SMALL = (2, 3, 4)


@pytest.fixture(params=["onednn", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compute large products by either library, wherever torch was built with oneDNN."""
    has_onednn = request.param == "onednn" and torch.backends.mkldnn.is_available()
    monkeypatch.setattr(module, "_has_onednn", lambda: has_onednn)
    return str(request.param)


def draw(sizes: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    positions, narrow, wide = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(positions, narrow), (wide, narrow), (wide,)]
    return [torch.randn(*shape, generator=generator).to(dtype) for shape in shapes]


def gradients(out: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(out, inputs, probe.to(out.dtype), create_graph=True)


@pytest.mark.parametrize("sizes", [LARGE, SMALL])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_torch_in_double(
    library: str, sizes: tuple[int, int, int], with_bias: bool
) -> None:
    inputs = draw(sizes)[: 3 if with_bias else 2]
    exact = [x.double().requires_grad_() for x in inputs]
    inputs = [x.requires_grad_() for x in inputs]

    found, expected = linear(*inputs), F.linear(*exact)

    for mine, other in zip(
        [found, *gradients(found, inputs)], [expected, *gradients(expected, exact)], strict=True
    ):
        torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=2e-5 * sizes[1] ** 0.5)


def test_second_gradients_are_those_of_torch(library: str) -> None:
    both = []
    for function, dtype in ((linear, torch.float32), (F.linear, torch.float64)):
        x, weight, bias = (part.to(dtype).requires_grad_() for part in draw(LARGE))
        first = gradients(function(x, weight, bias).square(), [x])[0]
        both.append(torch.autograd.grad(first.square().sum(), weight)[0].double())

    assert float((both[0] - both[1]).abs().max() / both[1].abs().max()) < 1e-5


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(200, 100).t(),
        torch.randn(100, 500)[:, 100:300],
        torch.randn(1, 200).expand(100, 200),
        torch.randn(2, 50, 200),
    ],
    ids=["transposed", "slice", "expanded", "three dimensions"],
)
def test_any_layout_of_the_input_is_read(library: str, x: Tensor) -> None:
    _, weight, bias = draw(LARGE)

    expected = F.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(linear(x, weight, bias).double(), expected, rtol=1e-5, atol=1e-4)


def test_bias_is_read_when_its_numbers_are_not_beside_each_other(library: str) -> None:
    x, weight, _ = draw(LARGE)
    bias = torch.ones(1).expand(300)

    torch.testing.assert_close(linear(x, weight, bias), linear(x, weight) + 1, rtol=1e-5, atol=1e-4)


def test_products_follow_autocast(library: str) -> None:
    x, weight, bias = draw(LARGE)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(library: str, dtype: torch.dtype) -> None:
    inputs = draw(LARGE, dtype)

    assert torch.equal(linear(*inputs), F.linear(*inputs))


def test_products_are_left_to_torch_when_its_switch_is_off(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    inputs = draw(LARGE)

    assert torch.equal(linear(*inputs), F.linear(*inputs))


def test_small_products_are_left_to_torch(library: str) -> None:
    inputs = draw(SMALL)

    assert torch.equal(linear(*inputs), F.linear(*inputs))


def test_no_gradient_is_recorded_when_gradients_are_off(library: str) -> None:
    inputs = [x.requires_grad_() for x in draw(LARGE)]
    with torch.no_grad():
        assert not linear(*inputs).requires_grad


def test_only_the_gradients_wanted_are_given(library: str) -> None:
    x, weight, bias = draw(LARGE)
    weight.requires_grad_()

    linear(x, weight, bias).sum().backward()

    assert weight.grad is not None
    assert x.grad is None
    assert bias.grad is None


def test_the_layer_is_torchs_in_weights_and_state(library: str) -> None:
    torch.manual_seed(0)
    ours = Linear(200, 300)
    torch.manual_seed(0)
    theirs = nn.Linear(200, 300)

    assert torch.equal(ours.weight, theirs.weight)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = draw(LARGE)[0]
    for layer in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        torch.testing.assert_close(layer(x), theirs(x), rtol=1e-5, atol=1e-5)
