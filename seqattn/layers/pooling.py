"""One vector per sequence, and one vector per position from several layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from seqattn.layers.slots import require_choice
from seqattn.packing import Packing

PoolingName = Literal["mean", "max", "first", "attention"]


class SequencePooling(nn.Module):
    """Turns the positions of each sequence into one vector; an empty sequence gives zeros.

    Args:
        dim: D.
        kind: ``mean``, ``max``, ``first`` position, or ``attention``: a softmax over a learned
            score of each position (Lin et al. 2017, equation 5, with one row).

    Raises:
        ValueError: if `kind` is unknown.
    """

    def __init__(self, dim: int, kind: PoolingName) -> None:
        super().__init__()
        require_choice("pooling", kind, ("mean", "max", "first", "attention"))
        self.kind = kind
        self.score = nn.Linear(dim, 1, bias=False) if kind == "attention" else None

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Return one vector per sequence.

        Shape:
            x (T, D). returns: (B, D).
        """
        owner = packing.sequence_ids
        empty = x.new_zeros(len(packing), x.shape[1])
        lengths = packing.offsets.diff()[:, None]  # (B, 1)
        if self.kind == "first" and packing.total:
            rows = packing.offsets[:-1].clamp(max=packing.total - 1)
            return torch.where(lengths > 0, x[rows], 0)
        if self.kind == "max":
            rows = owner[:, None].expand_as(x)
            return empty.scatter_reduce(0, rows, x, "amax", include_self=False)
        if self.score is None:  # mean, or the first of none: zeros that keep the gradient's way
            return empty.index_add(0, owner, x) / lengths.clamp(min=1).to(x.dtype)
        weights = segment_softmax(self.score(x)[:, 0], owner, len(packing))  # (T,)
        return empty.index_add(0, owner, x * weights[:, None])


def segment_softmax(scores: Tensor, owner: Tensor, size: int) -> Tensor:
    """Return the softmax of the scores of each sequence.

    Shape:
        scores (T,); owner (T,) in 0 … size - 1. returns: (T,).
    """
    highest = scores.detach().new_zeros(size)
    highest = highest.scatter_reduce(0, owner, scores.detach(), "amax", include_self=False)
    shares = (scores - highest[owner]).exp()
    totals = shares.new_zeros(size).index_add(0, owner, shares)
    return shares / totals[owner]


class LayerMix(nn.Module):
    """A learned average of layers (Peters et al. 2018, equation 1).

    Args:
        layers: how many are mixed.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return gain · sum of softmax(scores) · states. Shape: each (T, D). returns: (T, D)."""
        weights = self.scores.softmax(0)
        mixed = sum(weight * state for weight, state in zip(weights, states, strict=True))
        out: Tensor = self.gain * mixed
        return out
