"""Pairs of a sequence and the memory that it reads, each of a length of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqattn.attention.blocks import padding_of, slot_starts
from seqattn.packing import Packing

_IntArray = npt.NDArray[np.int64]

# A group of its own costs as much as so many scores of every head, and a slot of padding as much
# as so many scores: both measured on a CPU, where they hardly depend on the width.
_SCORES_PER_GROUP = 2048
_SCORES_PER_SLOT = 12


@dataclass(frozen=True, eq=False)
class Pairs:
    """B sequences of L positions and their memories of M positions, on a device.

    Args:
        queries: layout of the B sequences that read.
        memory: layout of the B memories.
        query_blocks: layout of the sequences that have something to read, grouped together with
            their memories.
        memory_blocks: layout of these memories, in the same groups.
        query_rows: positions of `queries` that are in `query_blocks`; None for all of them.
        memory_rows: positions of `memory` that are in `memory_blocks`; None for all of them.
    """

    queries: Packing
    memory: Packing
    query_blocks: Packing
    memory_blocks: Packing
    query_rows: Tensor | None = None
    memory_rows: Tensor | None = None

    @classmethod
    def of(cls, queries: Packing, memory: Packing) -> Self:
        """Pair every sequence with its memory; reads lengths on the host only.

        Raises:
            ValueError: if there is not one memory per sequence.
        """
        if len(queries) != len(memory):
            raise ValueError(
                f"memory must hold one sequence for each that reads it ({len(queries)}), "
                f"got {len(memory)}"
            )
        sizes = np.array([queries.lengths, memory.lengths], dtype=np.int64).T  # (B, 2)
        alive = sizes.min(axis=1, initial=1) > 0  # both have positions
        kept = sizes[alive]
        members = group_pairs(kept)
        device = queries.offsets.device
        blocks = [Packing.from_lengths(side.tolist(), members).to(device) for side in kept.T]
        rows = [_rows_kept(side, alive, device) for side in sizes.T]
        return cls(queries, memory, blocks[0], blocks[1], rows[0], rows[1])

    @property
    def is_empty(self) -> bool:
        """Whether no sequence has anything to read."""
        return not self.query_blocks.total

    @property
    def longest(self) -> int:
        """The longest sequence or memory that a block holds."""
        return max(self.query_blocks.max_length, self.memory_blocks.max_length)

    def bias(self, number: int, dtype: torch.dtype) -> Tensor | None:
        """Return minus infinity for the padding of a group's memories, 0 elsewhere.

        Shape:
            returns: (b, 1, 1, M), or None without padding.
        """
        packing = self.memory_blocks
        group = packing.groups[number]
        if group.is_full:
            return None

        def make() -> Tensor:
            padding = padding_of(packing, group, slot_starts(packing)[number])
            zeros = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
            return zeros.masked_fill(padding, -torch.inf)[:, None, None]

        return packing.once(("pair_bias", number, dtype), make)


def group_pairs(sizes: _IntArray) -> list[list[int]]:
    """Return the pairs in groups that are padded to the longest of each side.

    A group is cut in two, along the lengths of either side, while that saves more padding than
    another group costs.

    Shape:
        sizes (n, 2), lengths of the two sides, none of them 0. returns: numbers of the pairs.
    """
    return _split(sizes + _SCORES_PER_SLOT, np.arange(len(sizes))) if len(sizes) else []


def _split(sizes: _IntArray, members: _IntArray) -> list[list[int]]:
    whole = len(members) * sizes[members].max(axis=0).prod()
    most, parts = _SCORES_PER_GROUP, None
    for side in (0, 1):
        order = members[np.argsort(-sizes[members, side], kind="stable")]
        saved = (
            whole - _cost_of_heads(sizes[order])[:-1] - _cost_of_heads(sizes[order[::-1]])[-2::-1]
        )
        if len(saved) and saved.max() > most:
            most, cut = saved.max(), int(saved.argmax()) + 1
            parts = order[:cut], order[cut:]
    if parts is None:
        return [members.tolist()]
    return [group for part in parts for group in _split(sizes, part)]


def _cost_of_heads(sizes: _IntArray) -> Any:
    """Return the cost of a group of the first 1, 2, 3 … pairs. Shape: (n, 2). returns: (n,)."""
    return np.maximum.accumulate(sizes, axis=0).prod(axis=1) * np.arange(1, len(sizes) + 1)


def _rows_kept(
    lengths: _IntArray, alive: npt.NDArray[np.bool_], device: torch.device
) -> Tensor | None:
    """Return the positions of the sequences that are kept; None where nothing is lost."""
    if not lengths[~alive].any():
        return None
    return torch.from_numpy(alive.repeat(lengths).nonzero()[0]).to(device)


def select_rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return these rows of x; None stands for all of them."""
    return x if rows is None else x.index_select(0, rows)
