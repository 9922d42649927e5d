"""Dropout masks that cost one random byte per element."""

from __future__ import annotations

import torch
from torch import Tensor


def byte_threshold(p: float) -> int | None:
    """Return which of 256 bytes are dropped, or None where p is nearest to none or to all."""
    threshold = round(p * 256)
    return None if threshold in (0, 256) else threshold


def draw_kept(like: Tensor, threshold: int) -> Tensor:
    """Return 1 with probability 1 - threshold / 256, else 0. Shape: as `like`, uint8."""
    words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.uint8)[: like.numel()].view(like.shape)
    # Comparing is several times slower than this, which is vectorised.
    return drawn.clamp_(threshold - 1, threshold).sub_(threshold - 1)


def kept_scale(threshold: int) -> float:
    """Return the factor of what is kept, which makes the expectation exact."""
    return 256 / (256 - threshold)


def drop(x: Tensor, kept: Tensor, threshold: int) -> Tensor:
    """Return x where it is kept, scaled, and 0 elsewhere. Shape: x, kept, returns: the same."""
    return kept.to(x.dtype).mul_(kept_scale(threshold)).mul_(x)
