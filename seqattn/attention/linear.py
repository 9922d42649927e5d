"""Linear layers whose larger products in single precision go to oneDNN on a CPU with AVX-512.

torch hands them to MKL, which leaves AVX-512 unused on a processor that is not Intel's; oneDNN
asks the processor for what it can do. ``torch.backends.mkldnn.enabled = False`` turns it off.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

# Below so many multiplications, preparing the product costs what it saves (measured).
_MULTIPLICATIONS = 2**22


class Linear(nn.Linear):
    """A linear layer; the same numbers as torch's, up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T + b``.

        Shape:
            x (…, D). returns: (…, D_out).
        """
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x weight^T + bias``, differentiable as often as wanted by reverse mode.

    Whatever oneDNN's product does not know goes to :func:`torch.nn.functional.linear`: forward-mode
    derivatives, the transforms of ``torch.func``, ``torch.compile``, ``torch.jit.trace``, autocast,
    sparse tensors, and shapes that torch broadcasts or refuses. Tools that look for torch's own
    operators or layers (``FlopCounterMode``, ``quantize_dynamic``) do not see oneDNN's product.

    Shape:
        x (…, D); weight (D_out, D); bias (D_out,). returns: (…, D_out).
    """
    if not _is_for_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _multiply(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            linear(grad, weight.t()) if to_x else None,
            _weight_gradient(grad, x) if to_weight else None,
            grad.sum(0) if to_bias else None,
        )


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Return ``grad^T x``. oneDNN copies the left operand of a product: the narrower is cheaper."""
    if grad.shape[1] > x.shape[1]:
        return linear(x.t(), grad.t()).t()
    return linear(grad.t(), x.t())


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def _is_for_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether oneDNN computes this product, and does so faster."""
    # First, since a compiler or tracer would stumble over the rest.
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return False
    return (
        x.dim() == weight.dim() == 2
        and x.shape[0] * weight.numel() >= _MULTIPLICATIONS
        and x.shape[1] == weight.shape[1]
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.layout == weight.layout == torch.strided
        and (bias is None or _is_plain_bias(bias, weight))
        and _has_onednn()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and not _is_transformed()
    )


def _is_plain_bias(bias: Tensor, weight: Tensor) -> bool:
    """Return whether there is one number per output, beside each other."""
    return bias.shape == weight.shape[:1] and bias.dtype == weight.dtype and bias.is_contiguous()


def _is_transformed() -> bool:
    """Return whether a transform of ``torch.func`` or forward-mode differentiation is under way.

    torch has no public question for it, and asks itself so in ``autograd.Function.apply`` and
    ``forward_ad.make_dual``.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


@cache
def _has_onednn() -> bool:
    """Return whether this torch has the product, and the processor AVX-512."""
    has_vectors = torch.backends.cpu.get_cpu_capability() == "AVX512"
    has_product = torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    )
    return has_vectors and has_product
