import pytest
import torch
import torch.nn.functional as F

from seqattn.layers.dropout import Dropout


def test_dropout_does_nothing_outside_training():
    x = torch.randn(4, 3)
    assert Dropout(0.5).eval()(x) is x


def test_dropout_keeps_the_expectation_when_p_is_rounded():
    torch.manual_seed(0)
    x = torch.ones(1_000_000)

    dropped = Dropout(0.1)(x)

    rounded = 26 / 256  # 0.1 is no multiple of 1 / 256
    assert (dropped == 0).double().mean().item() == pytest.approx(rounded, abs=1e-3)
    assert dropped.max().item() == pytest.approx(1 / (1 - rounded), rel=1e-6)
    assert dropped.double().mean().item() == pytest.approx(1.0, abs=1e-3)


def test_dropout_gradient_is_the_same_mask():
    x = torch.randn(7, 5, requires_grad=True)

    dropped = Dropout(0.5)(x)
    dropped.sum().backward()

    torch.testing.assert_close(dropped, x * x.grad)


@pytest.mark.parametrize("p", [0.0, 0.001, 0.999, 1.0])
def test_dropout_is_finite_at_the_ends(p):
    dropped = Dropout(p)(torch.ones(1000))
    assert torch.isfinite(dropped).all()


def test_dropout_draws_the_same_mask_from_the_same_seed():
    x = torch.randn(50)
    torch.manual_seed(3)
    first = Dropout(0.3)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.3)(x), first)


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_refuses_a_probability_outside_the_unit_interval(p):
    with pytest.raises(ValueError, match=rf"dropout must lie in 0 … 1, got {p}"):
        Dropout(p)


def test_add_is_the_residual_plus_the_dropped_branch():
    residual, x = torch.randn(2, 6, 5, requires_grad=True).unbind()
    dropout = Dropout(0.5)
    torch.manual_seed(1)
    dropped = dropout(x)
    torch.manual_seed(1)
    added = dropout.add(residual, x)

    torch.testing.assert_close(added, residual + dropped)
    probe = torch.randn(6, 5)
    got = torch.autograd.grad((added * probe).sum(), (residual, x), retain_graph=True)
    wanted = torch.autograd.grad(((residual + dropped) * probe).sum(), (residual, x))
    torch.testing.assert_close(got, wanted)


def test_add_keeps_the_residuals_precision_when_the_branch_is_in_half():
    residual = torch.randn(6, 5, requires_grad=True)
    x = torch.randn(6, 5, dtype=torch.bfloat16, requires_grad=True)

    added = Dropout(0.5).add(residual, x)
    added.sum().backward()

    assert added.dtype == torch.float32
    assert x.grad.dtype == torch.bfloat16


def test_relu_is_dropped_with_the_gradient_of_both():
    x = torch.randn(40, 5, requires_grad=True)
    dropout = Dropout(0.5)

    out = dropout.relu(x)
    (grad,) = torch.autograd.grad(out.sum(), x)

    kept = out > 0
    assert not out[x <= 0].any()
    torch.testing.assert_close(out, torch.where(kept, 2 * x, 0))
    torch.testing.assert_close(grad, 2.0 * kept)


def test_gelu_is_dropped_with_the_gradient_of_both():
    x = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)

    out = Dropout(0.5).gelu(x)
    (grad,) = torch.autograd.grad(out.sum(), x)

    kept = (out != 0).double()
    assert 0 < kept.sum() < kept.numel()
    (slope,) = torch.autograd.grad(F.gelu(x).sum(), x)
    torch.testing.assert_close(out, 2 * kept * F.gelu(x))
    torch.testing.assert_close(grad, 2 * kept * slope)


def test_gelu_overwrites_nothing_that_a_gradient_needs():
    x = torch.randn(4, 3)
    for dropout in (Dropout(0.5), Dropout(0.5).eval()):
        given = x.clone().requires_grad_()
        dropout.gelu(given)
        assert torch.equal(given, x)


def test_add_relu_and_gelu_drop_nothing_outside_training():
    x = torch.randn(4, 3)
    dropout = Dropout(0.5).eval()
    assert torch.equal(dropout.add(x, x), x + x)
    assert torch.equal(dropout.relu(x), x.relu())
    assert torch.equal(dropout.gelu(x), F.gelu(x))
