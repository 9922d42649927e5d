"""Recurrent layers over packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from seqattn.attention.layout import Layout
from seqattn.packing import Packing

CellName = Literal["lstm", "gru"]


@dataclass
class RecurrentCache:
    """The hidden vectors of B sequences; a GRU has one, an LSTM two.

    Args:
        states: each of Shape: (1, B, D).
    """

    states: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order, repeated or not. Shape: rows (B',) int64."""
        self.states = tuple(state.index_select(1, rows) for state in self.states)


class Recurrent(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997) or a GRU (Cho et al. 2014).

    Two of width D / 2 in opposite directions, or one of width D that never looks ahead.

    Args:
        dim: D.
        cell: which of the two.
        is_causal: whether to read forwards only.

    Raises:
        ValueError: if D is odd and both directions are read.
    """

    def __init__(self, dim: int, *, cell: CellName, is_causal: bool) -> None:
        super().__init__()
        if dim % 2 and not is_causal:
            raise ValueError(f"dim must be even with a bidirectional recurrent mixer, got {dim}")
        width, both = (dim, False) if is_causal else (dim // 2, True)
        make = nn.LSTM if cell == "lstm" else nn.GRU
        self.cell = make(dim, width, bidirectional=both)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the hidden vector at each position.

        Shape:
            x (T, D). returns: (T, D).
        """
        packing = layout.packing
        if packing.total == 0:  # nothing, but part of the graph
            return x + torch.stack([weight.sum() for weight in self.cell.parameters()]).sum()
        rows, inverse, sizes = packing.once("by_time", lambda: _order_by_time(packing))
        hidden = self.cell(PackedSequence(x.index_select(0, rows), sizes))[0].data
        out: Tensor = hidden.index_select(0, inverse)
        return out

    def start(self, size: int) -> RecurrentCache:
        """Return the memory of B = `size` sequences that have not begun."""
        weight = next(self.cell.parameters())
        count = 2 if isinstance(self.cell, nn.LSTM) else 1
        zero = weight.new_zeros(1, size, self.cell.hidden_size)
        return RecurrentCache((zero,) * count)

    def step(self, x: Tensor, cache: RecurrentCache, layout: Layout) -> Tensor:
        """Return the next position of each sequence. Shape: x (B, D). returns: (B, D)."""
        if isinstance(self.cell, nn.LSTM):
            out, cache.states = self.cell(x[None], (cache.states[0], cache.states[1]))
        else:
            out, state = self.cell(x[None], cache.states[0])
            cache.states = (state,)
        hidden: Tensor = out[0]
        return hidden


def _order_by_time(packing: Packing) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions step by step, longest sequence first; the way back; rows per step."""
    lengths = torch.tensor(packing.lengths, dtype=torch.int64)
    starts = lengths.cumsum(0) - lengths
    order = lengths.argsort(descending=True, stable=True)
    steps = torch.arange(packing.max_length)[:, None]
    alive = steps < lengths[order]  # (L, B)
    rows = (starts[order] + steps)[alive]
    inverse = torch.empty_like(rows)
    inverse[rows] = torch.arange(rows.shape[0])
    device = packing.offsets.device
    return rows.to(device), inverse.to(device), alive.sum(1)
