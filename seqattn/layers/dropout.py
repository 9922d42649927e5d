"""Dropout whose mask costs one random byte per element on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        draws = self._draws_bytes(x)
        out: Tensor = _Dropped.apply(x, self._threshold) if draws else F.dropout(x, self.p)
        return out

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return ``residual + dropout(x)``, in one pass over the memory.

        Shape:
            residual, x: any, the same. returns: the same.
        """
        if self._is_active and self._draws_bytes(x):
            out: Tensor = _DroppedSum.apply(residual, x, self._threshold)
        else:
            out = residual + self(x)
        return out

    def relu(self, x: Tensor) -> Tensor:
        """Return ``dropout(relu(x))``; needs no mask for the gradient, the output is one.

        Shape:
            x: any. returns: the same.
        """
        if self._is_active and self._draws_bytes(x):
            out: Tensor = _DroppedRelu.apply(x, self._threshold)
        else:
            out = self(F.relu(x))
        return out

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}"

    @property
    def _threshold(self) -> int:
        return round(self.p * 256)

    @property
    def _is_active(self) -> bool:
        return self.training and self.p > 0

    def _draws_bytes(self, x: Tensor) -> bool:
        return x.device.type == "cpu" and self._threshold not in (0, 256)


def draw_kept(like: Tensor, threshold: int) -> Tensor:
    """Return 1 with probability 1 - threshold / 256, else 0. Shape: as `like`, uint8."""
    words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.uint8)[: like.numel()].view(like.shape)
    # Comparing is several times slower than this, which is vectorised.
    return drawn.clamp_(threshold - 1, threshold).sub_(threshold - 1)


def _scale(threshold: int) -> float:
    return 256 / (256 - threshold)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        kept = draw_kept(x, threshold)
        ctx.save_for_backward(kept)
        ctx.scale = _scale(threshold)
        return kept.to(x.dtype).mul_(ctx.scale).mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(grad.dtype).mul_(ctx.scale).mul_(grad), None


class _DroppedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, threshold: int) -> Tensor:
        kept = draw_kept(x, threshold)
        ctx.save_for_backward(kept)
        ctx.scale, ctx.dtype = _scale(threshold), x.dtype
        wider = torch.promote_types(residual.dtype, x.dtype)  # they differ under autocast
        return kept.to(wider).mul_(ctx.scale).mul_(x).add_(residual)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (kept,) = ctx.saved_tensors
        return grad, kept.to(grad.dtype).mul_(ctx.scale).mul_(grad).to(ctx.dtype), None


class _DroppedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        ctx.scale = _scale(threshold)
        out = draw_kept(x, threshold).to(x.dtype).mul_(ctx.scale).mul_(x).clamp_(min=0)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors  # positive exactly where an element is kept and passes
        return out.sign().mul_(ctx.scale).mul_(grad), None
