"""The position-wise feed-forward network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.attention.linear import Linear
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
        self.expand = Linear(dim, 2 * hidden if kind == "swiglu" else hidden)
        self.dropout = Dropout(dropout)
        self.contract = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return each position's own update.

        Shape:
            x (T, D). returns: (T, D).
        """
        out: Tensor = self.contract(self._activate(self.expand(x)))
        return out

    def _activate(self, inner: Tensor) -> Tensor:
        """Return the inner layer after non-linearity and dropout.

        Without gradients it is overwritten: fresh memory costs more than the non-linearity.
        """
        if self.kind == "relu":
            return self.dropout.relu(inner)
        if self.kind == "gelu":
            return self.dropout.gelu(inner)
        gate, inner = inner.chunk(2, dim=-1)
        out: Tensor = self.dropout(F.silu(gate, inplace=not torch.is_grad_enabled()) * inner)
        return out
