"""Rotary positions (Su et al. 2021, RoFormer, section 3.2.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BASE = 10_000.0


def rotary_angles(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of position times frequency ``10000^(-2 i / K)``.

    In single precision where `dtype` is less: in half precision, positions far along a sequence
    could not be told from their neighbours.

    Shape:
        positions (T,) int64. returns: two of (T, 1, K / 2).
    """
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    steps = torch.arange(0, head_dim, 2, dtype=exact, device=positions.device)
    frequencies = _BASE ** (-steps / head_dim)
    angles = positions.to(exact)[:, None, None] * frequencies  # (T, 1, K / 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the vectors of every head turned by the angles of their positions.

    Component i is paired with component i + K / 2.

    Shape:
        x (T, H, K); angles two of (T, 1, K / 2). returns: (T, H, K).
    """
    assert angles is not None
    out: Tensor = _Rotation.apply(x, *angles)
    return out


class _Rotation(torch.autograd.Function):
    """The rotation, written into its place; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turn(x, cosine, sine, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turn(grad, cosine, sine, -1), None, None


def _turn(x: Tensor, cosine: Tensor, sine: Tensor, sign: int) -> Tensor:
    out = torch.empty(x.shape, dtype=cosine.dtype, device=x.device)
    first, second = x.to(cosine.dtype).chunk(2, dim=-1)
    to_first, to_second = out.chunk(2, dim=-1)
    torch.mul(first, cosine, out=to_first).addcmul_(second, sine, value=-sign)
    torch.mul(second, cosine, out=to_second).addcmul_(first, sine, value=sign)
    return out.to(x.dtype)
