"""Rotary positions (Su et al. 2021, RoFormer, section 3.2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10_000.0


def rotary_angles(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of position times frequency ``10000^(-2 i / K)``.

    Shape:
        positions (T,) int64. returns: two of (T, 1, K / 2).
    """
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    steps = torch.arange(0, head_dim, 2, dtype=exact, device=positions.device)
    frequencies = _BASE ** (-steps / head_dim)
    angles = positions.to(exact)[:, None, None] * frequencies  # (T, 1, K / 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the vectors of every head turned by the angles of their positions.

    Component i is paired with component i + K / 2.

    Shape:
        x (T, H, K); angles two of (T, 1, K / 2). returns: (T, H, K).
    """
    assert angles is not None
    cosine, sine = angles
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
