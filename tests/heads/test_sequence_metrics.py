"""The gap to teacher forcing, and which examples are written for."""

from __future__ import annotations

import pytest
import torch

from seqattn import SequenceBatch
from seqattn.heads.sequence_metrics import Gap, choose_examples


def test_gap_is_teacher_forced_minus_free_running_accuracy() -> None:
    gap = Gap()
    gap.update(torch.tensor(4), written=[[5, 6, 2], [7]], truth=[[5, 6, 2], [8, 2]])
    # 4 of 5 foretold; of the second [8, 2] one is replaced and one deleted: 2 edits of 5 symbols
    assert float(gap.compute()) == pytest.approx(4 / 5 - (1 - 2 / 5))
    gap.update(torch.tensor(0), written=[[2]], truth=[[2]])
    assert float(gap.compute()) == pytest.approx(4 / 6 - (1 - 2 / 6))


def test_gap_of_nothing_is_not_a_number() -> None:
    assert bool(Gap().compute().isnan())


def batch(size: int) -> SequenceBatch:
    rows = [torch.tensor([number]) for number in range(size)]
    keys = [f"val:{number}" for number in range(size)]
    return SequenceBatch.from_list(rows, targets=SequenceBatch.from_list(rows), keys=keys)


def test_chosen_share_depends_on_the_examples_alone() -> None:
    whole = choose_examples(batch(400), 0.25)
    assert 60 <= len(whole) <= 140
    assert whole == choose_examples(batch(400), 0.25)
    assert choose_examples(batch(100), 0.25) == [place for place in whole if place < 100]
    assert set(whole) <= set(choose_examples(batch(400), 0.5))
    assert choose_examples(batch(5), 1.0) == [0, 1, 2, 3, 4]
    assert choose_examples(batch(5), 0.0) == []


def test_unlabelled_sequences_are_not_chosen() -> None:
    labelled = torch.tensor([True, False, True])
    assert choose_examples(batch(3).replace(labelled=labelled), 1.0) == [0, 2]
