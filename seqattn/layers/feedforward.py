"""The position-wise feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.layers.dropout import Dropout
from seqattn.layers.slots import FeedForwardName


class FeedForward(nn.Module):
    """Two linear layers with a non-linearity between (Vaswani et al. 2017, equation 2).

    Args:
        dim: D.
        hidden: width between the layers.
        kind: ``relu``, ``gelu``, or ``swiglu`` (Shazeer 2020, equation 6), which has two inner
            projections.
        dropout: probability, between the layers.
    """

    def __init__(self, dim: int, hidden: int, *, kind: FeedForwardName, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.expand = nn.Linear(dim, 2 * hidden if kind == "swiglu" else hidden)
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return each position's own update.

        Shape:
            x (T, D). returns: (T, D).
        """
        inner = self.expand(x)
        if self.kind == "swiglu":
            gate, inner = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * inner
        else:
            inner = F.relu(inner) if self.kind == "relu" else F.gelu(inner)
        out: Tensor = self.contract(self.dropout(inner))
        return out
