"""Targets as a decoder reads them in training: every symbol given the true ones before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from seqattn.batch import SequenceBatch
from seqattn.packing import Packing


@dataclass(frozen=True)
class TeacherForcing:
    """The N positions of B targets, one more of each than it has symbols.

    Args:
        inputs: BEGIN y1 … yn of each target. Shape: (N,) int64.
        outputs: y1 … yn END of each, below 0 where a symbol was never seen. Shape: (N,) int64.
        weight: 1, or 0 for the targets of sequences that are not labelled. Shape: (N,).
        packing: their layout.
    """

    inputs: Tensor
    outputs: Tensor
    weight: Tensor
    packing: Packing

    @classmethod
    def of(cls, batch: SequenceBatch, begin: int, end: int) -> Self:
        """Return the positions of a batch's targets, which have neither BEGIN nor END.

        A symbol below 0 is read as symbol 0.

        Raises:
            ValueError: if the batch has no target sequences.
        """
        targets = require_targets(batch)
        symbols = targets.values
        lengths = [length + 1 for length in targets.packing.lengths]
        packing = Packing.from_lengths(lengths).to(symbols.device)
        places = torch.arange(len(symbols), device=symbols.device) + targets.sequence_ids
        inputs = symbols.new_full((packing.total,), begin)
        outputs = symbols.new_full((packing.total,), end)
        inputs[places + 1] = symbols.clamp(min=0)
        outputs[places] = symbols
        counted = batch.labelled_sequences
        weight = torch.ones_like(outputs, dtype=torch.float32)
        if counted is not None:
            weight = weight * counted[packing.sequence_ids]
        return cls(inputs, outputs, weight, packing)


def require_targets(batch: SequenceBatch) -> SequenceBatch:
    """Return the target sequences of a batch.

    Raises:
        ValueError: if it has none.
    """
    targets = batch.targets
    if not isinstance(targets, SequenceBatch):
        raise ValueError("seq2seq needs a target sequence for every source, got none in this batch")
    return targets


def target_rows(batch: SequenceBatch) -> list[list[int]]:
    """Return the symbols of each target, on the host.

    Raises:
        ValueError: if the batch has no target sequences.
    """
    targets = require_targets(batch)
    return [row.tolist() for row in torch.split(targets.values, list(targets.packing.lengths))]
