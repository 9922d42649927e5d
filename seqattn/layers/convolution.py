"""Convolutions over packed sequences that never read across a sequence's end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.attention.layout import Layout
from seqattn.attention.linear import Linear
from seqattn.packing import Packing


@dataclass
class TailCache:
    """The last inputs of B sequences; the newest last.

    Args:
        tail: zeros where a sequence had not begun. Shape: (B, left, C).
    """

    tail: Tensor

    def append(self, x: Tensor) -> Tensor:
        """Add one position (B, C); return it with those before it (B, left + 1, C)."""
        seen = torch.cat([self.tail, x[:, None]], dim=1)
        self.tail = seen[:, 1:]
        return seen

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        self.tail = self.tail.index_select(0, rows)


def spread_out(x: Tensor, packing: Packing, left: int, right: int) -> tuple[Tensor, Tensor]:
    """Return the positions with zeros before, between and after the sequences.

    Args:
        x: packed positions.
        packing: layout of the batch.
        left: zeros before the first sequence, at least.
        right: zeros after the last one, at least.

    Shape:
        x (T, C). returns: (T', C), and the place of each position in it, (T,) int64.
    """
    gap = max(left, right)

    def find_places() -> Tensor:
        steps = torch.arange(packing.total, device=packing.offsets.device)
        return steps + (packing.sequence_ids + 1) * gap

    places = packing.once(("spread_out", gap), find_places)
    size = packing.total + (len(packing) + 1) * gap
    return x.new_zeros(size, x.shape[1]).index_copy(0, places, x), places


class WindowMixer(nn.Module):
    """One fully connected layer over each position and its neighbours.

    Beyond a sequence's ends it reads zeros. The same as a one-dimensional convolution.

    Args:
        dim: D.
        left: positions that it reads before its own.
        right: positions that it reads after its own.
    """

    def __init__(self, dim: int, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.linear = Linear((self.left + 1 + self.right) * dim, dim)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return what each position makes of its neighbourhood.

        Shape:
            x (T, D). returns: (T, D).
        """
        spread, places = spread_out(x, layout.packing, self.left, self.right)
        offsets = torch.arange(-self.left, self.right + 1, device=x.device)
        rows = places[:, None] + offsets  # (T, W)
        neighbours = spread.index_select(0, rows.flatten())
        out: Tensor = self.linear(neighbours.view(x.shape[0], self.linear.in_features))
        return out

    def start(self, size: int) -> TailCache:
        """Return the memory of B = `size` sequences that have not begun."""
        weight = self.linear.weight
        return TailCache(weight.new_zeros(size, self.left, weight.shape[0]))

    def step(self, x: Tensor, cache: TailCache, layout: Layout) -> Tensor:
        """Return the next position of each sequence. Shape: x (B, D). returns: (B, D)."""
        out: Tensor = self.linear(cache.append(x).flatten(1))
        return out


class Convolution(nn.Module):
    """A gated depthwise separable convolution (Gulati et al. 2020, Conformer, section 2.2).

    Pointwise to 2 D, gated; each feature convolved alone; SiLU; pointwise back to D.

    Args:
        dim: D.
        left: positions that it reads before its own.
        right: positions that it reads after its own.
    """

    def __init__(self, dim: int, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.expand = Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, self.left + 1 + self.right, groups=dim)
        self.contract = Linear(dim, dim)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return what each position reads from its neighbourhood.

        Shape:
            x (T, D). returns: (T, D).
        """
        gated = F.glu(self.expand(x))
        spread, places = spread_out(gated, layout.packing, self.left, self.right)
        if layout.packing.total == 0:  # nothing, but part of the graph
            weight, bias = self.depthwise.parameters()
            mixed = gated * weight.sum() + bias
        else:
            convolved = self.depthwise(spread.T[None])[0].T  # (T' - left - right, D)
            mixed = convolved.index_select(0, places - self.left)
        out: Tensor = self.contract(F.silu(mixed))
        return out

    def start(self, size: int) -> TailCache:
        """Return the memory of B = `size` sequences that have not begun."""
        weight = self.depthwise.weight
        return TailCache(weight.new_zeros(size, self.left, weight.shape[0]))

    def step(self, x: Tensor, cache: TailCache, layout: Layout) -> Tensor:
        """Return the next position of each sequence. Shape: x (B, D). returns: (B, D)."""
        seen = cache.append(F.glu(self.expand(x)))  # (B, left + 1, D)
        mixed = self.depthwise(seen.transpose(1, 2))[:, :, 0]
        out: Tensor = self.contract(F.silu(mixed))
        return out
