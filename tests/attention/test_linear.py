from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

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


@pytest.mark.parametrize("shape", [(), (1,), (1, 300), (100, 300)], ids=str)
def test_a_bias_of_another_shape_is_spread_or_refused_as_by_torch(
    library: str, shape: tuple[int, ...]
) -> None:
    x, weight, _ = draw(LARGE)
    bias = torch.full(shape, 3.0)
    try:
        expected = F.linear(x, weight, bias)
    except RuntimeError as refusal:
        with pytest.raises(RuntimeError, match=re.escape(str(refusal))):
            linear(x, weight, bias)
    else:
        assert torch.equal(linear(x, weight, bias), expected)


@pytest.mark.parametrize("shape", [(300, 199), (201,), (200,)], ids=str)
def test_a_weight_of_another_shape_is_read_or_refused_as_by_torch(
    library: str, shape: tuple[int, ...]
) -> None:
    x, weight = torch.ones(30_000, 200), torch.ones(shape)
    try:
        expected = F.linear(x, weight)
    except RuntimeError as refusal:
        with pytest.raises(RuntimeError, match=re.escape(str(refusal))):
            linear(x, weight)
    else:
        assert torch.equal(linear(x, weight), expected)


def of_one_number(
    function: Callable[..., Tensor], x: Tensor, weight: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return a loss of one factor of the weight."""
    return lambda scale: function(x, weight * scale).square().mean()


@pytest.mark.parametrize("name", ["grad", "jacrev", "jacfwd", "hessian"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's, of jacfwd
def test_transforms_of_torch_func_pass_through(library: str, name: str) -> None:
    x, weight, _ = draw(LARGE)
    transform = getattr(torch.func, name)

    found, expected = (
        transform(of_one_number(function, x, weight))(torch.tensor(2.0))
        for function in (linear, F.linear)
    )

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_jvp_and_vmap_pass_through(library: str) -> None:
    x, weight, bias = draw(LARGE)
    weights = torch.stack([weight, -weight])

    _, tangent = torch.func.jvp(lambda x: linear(x, weight, bias), (x,), (x,))
    many = torch.func.vmap(lambda weight: linear(x, weight, bias))(weights)

    torch.testing.assert_close(tangent, F.linear(x, weight), rtol=1e-5, atol=1e-4)
    expected = torch.stack([F.linear(x, w, bias) for w in weights])
    torch.testing.assert_close(many, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("with_gradients", [True, False])
def test_a_tangent_is_carried_with_and_without_gradients(
    library: str, with_gradients: bool
) -> None:
    x, weight, _ = draw(LARGE)
    with torch.set_grad_enabled(with_gradients), forward_ad.dual_level():
        out = forward_ad.unpack_dual(linear(forward_ad.make_dual(x, 2 * x), weight))

    assert out.tangent is not None
    torch.testing.assert_close(out.tangent, 2 * out.primal, rtol=1e-5, atol=1e-4)


def test_the_layer_compiles_without_a_break_before_anything_was_asked() -> None:
    torch._dynamo.reset()
    module._has_onednn.cache_clear()
    layer, x = Linear(200, 300), draw(LARGE)[0]

    compiled = torch.compile(layer, backend="eager", fullgraph=True)

    torch.testing.assert_close(compiled(x), F.linear(x, layer.weight, layer.bias))


def test_sparse_inputs_are_left_to_torch(library: str) -> None:
    x, weight, _ = draw(LARGE)

    found = linear(x.to_sparse(), weight)

    assert torch.equal(found.to_dense(), F.linear(x.to_sparse(), weight).to_dense())


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_a_trace_holds_torchs_own_product(library: str) -> None:
    layer, x = Linear(200, 300), draw(LARGE)[0]

    traced = torch.jit.trace(layer, (x,))

    assert "aten::linear" in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x[:7]), F.linear(x[:7], layer.weight, layer.bias))
