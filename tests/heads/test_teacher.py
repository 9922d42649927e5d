"""Targets as a decoder reads them."""

from __future__ import annotations

import pytest
import torch

from seqattn import SequenceBatch
from seqattn.heads.teacher import TeacherForcing, target_rows


def batch(labelled: torch.Tensor | None = None) -> SequenceBatch:
    rows = [torch.tensor([6, -1]), torch.tensor([], dtype=torch.int64), torch.tensor([7])]
    made = SequenceBatch.from_list(
        [torch.zeros(2), torch.zeros(1), torch.zeros(0)], targets=SequenceBatch.from_list(rows)
    )
    return made.replace(labelled=labelled)


def test_inputs_begin_and_outputs_end() -> None:
    taught = TeacherForcing.of(batch(), begin=1, end=2)
    assert taught.inputs.tolist() == [1, 6, 0, 1, 1, 7]
    assert taught.outputs.tolist() == [6, -1, 2, 2, 7, 2]
    assert taught.packing.lengths == (3, 1, 2)
    assert taught.weight.tolist() == [1.0] * 6


def test_sequences_without_labels_weigh_nothing() -> None:
    labelled = torch.tensor([True, False, False])
    taught = TeacherForcing.of(batch(labelled), begin=1, end=1)
    assert taught.weight.tolist() == [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert target_rows(batch()) == [[6, -1], [], [7]]


def test_targets_must_be_sequences() -> None:
    plain = SequenceBatch.from_list([torch.zeros(2)], targets=torch.tensor([1]))
    with pytest.raises(ValueError, match="seq2seq needs a target sequence for every source"):
        TeacherForcing.of(plain, 1, 2)
