"""Dropout whose mask costs one random byte per element on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.attention.byte_mask import byte_threshold, draw_kept, drop, kept_scale


class Dropout(nn.Module):
    """Zeroes elements with probability p and scales the rest (Srivastava et al. 2014).

    On a CPU, p is rounded to a multiple of 1/256 and the scale follows the rounded p, so that the
    expectation is exact; drawing bytes is about 14 times cheaper there than drawing Bernoulli
    floats. Elsewhere it is torch's own dropout.

    Args:
        p: probability of zeroing, in 0 … 1.

    Raises:
        ValueError: if p is outside 0 … 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must lie in 0 … 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped, in training only.

        Shape:
            x: any. returns: the same.
        """
        if not self._is_active:
            return x
        threshold = self._threshold(x)
        if threshold is None:
            return F.dropout(x, self.p)
        out: Tensor = _Dropped.apply(x, threshold)
        return out

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return ``residual + dropout(x)``, in one pass over the memory.

        Shape:
            residual, x: any, the same. returns: the same.
        """
        threshold = self._threshold(x) if self._is_active else None
        if threshold is None:
            out: Tensor = residual + self(x)
        else:
            out = _DroppedSum.apply(residual, x, threshold)
        return out

    def relu(self, x: Tensor) -> Tensor:
        """Return ``dropout(relu(x))``; needs no mask for the gradient, the output is one.

        Without gradients x is overwritten.

        Shape:
            x: any. returns: the same.
        """
        if not self._is_active:
            return F.relu(x, inplace=not torch.is_grad_enabled())
        threshold = self._threshold(x)
        if threshold is None:
            out: Tensor = self(F.relu(x))
        else:
            out = _DroppedRelu.apply(x, threshold)
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """Return ``dropout(gelu(x))``; keeps its derivative instead of x and a mask.

        Without gradients x is overwritten.

        Shape:
            x: any. returns: the same.
        """
        overwrites = not torch.is_grad_enabled()
        threshold = self._threshold(x) if self._is_active else None
        if overwrites or threshold is None:
            out: Tensor = self(torch.ops.aten.gelu_(x) if overwrites else F.gelu(x))
        else:
            out = _DroppedGelu.apply(x, threshold)
        return out

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}"

    @property
    def _is_active(self) -> bool:
        return self.training and self.p > 0

    def _threshold(self, x: Tensor) -> int | None:
        """Return which bytes are dropped, or None where torch's own dropout is to be taken."""
        return byte_threshold(self.p) if x.device.type == "cpu" else None


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        kept = draw_kept(x, threshold)
        ctx.save_for_backward(kept)
        ctx.threshold = threshold
        return drop(x, kept, threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return drop(grad, kept, ctx.threshold), None


class _DroppedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, threshold: int) -> Tensor:
        kept = draw_kept(x, threshold)
        ctx.save_for_backward(kept)
        ctx.threshold, ctx.dtype = threshold, x.dtype
        wider = torch.promote_types(residual.dtype, x.dtype)  # they differ under autocast
        return kept.to(wider).mul_(kept_scale(threshold)).mul_(x).add_(residual)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (kept,) = ctx.saved_tensors
        return grad, drop(grad, kept, ctx.threshold).to(ctx.dtype), None


class _DroppedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        ctx.scale = kept_scale(threshold)
        out = drop(x, draw_kept(x, threshold), threshold).clamp_(min=0)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors  # positive exactly where an element is kept and passes
        return out.sign().mul_(ctx.scale).mul_(grad), None


class _DroppedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        factor = draw_kept(x, threshold).to(x.dtype).mul_(kept_scale(threshold))
        ctx.save_for_backward(torch.ops.aten.gelu_backward(factor, x))
        return F.gelu(x).mul_(factor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (derivative,) = ctx.saved_tensors
        return derivative * grad, None
