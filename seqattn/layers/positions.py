"""Positions that are added to the input: sinusoidal and learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqattn.packing import Packing


class SinusoidalPositions(nn.Module):
    """Adds sines and cosines of the position (Vaswani et al. 2017, section 3.5).

    Args:
        dim: D; even.

    Raises:
        ValueError: if D is odd.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim must be even with sinusoidal positions, got {dim}")
        self.dim = dim

    def forward(self, x: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Return x with the waves of its positions added.

        Shape:
            x (T, D); positions (T,) int64. returns: (T, D).
        """
        steps = torch.arange(0, self.dim, 2, dtype=torch.float64, device=x.device)
        angles = positions[:, None] * 10_000.0 ** (-steps / self.dim)  # (T, D / 2)
        return x + torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(x.dtype)


class LearnedPositions(nn.Module):
    """Adds a learned vector for each position.

    Args:
        dim: D.
        max_length: number of positions in the table.
    """

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_length, dim)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, x: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Return x with the vectors of its positions added.

        Shape:
            x (T, D); positions (T,) int64. returns: (T, D).

        Raises:
            ValueError: if a sequence is longer than the table.
        """
        if longest > self.table.num_embeddings:
            raise ValueError(
                "a sequence must not be longer than the table of learned positions "
                f"(max_length={self.table.num_embeddings}), got {longest} positions"
            )
        out: Tensor = x + self.table(positions)
        return out


def longest_position(packing: Packing) -> int:
    """Return one more than the highest position; known on the host unless positions were given."""
    if packing.in_order:
        return packing.max_length
    return int(packing.positions.max()) + 1 if packing.total else 0
