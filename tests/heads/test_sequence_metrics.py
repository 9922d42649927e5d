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


def batch(size: int, name: str = "val:{}") -> SequenceBatch:
    rows = [torch.tensor([number]) for number in range(size)]
    keys = [name.format(number) for number in range(size)]
    return SequenceBatch.from_list(rows, targets=SequenceBatch.from_list(rows), keys=keys)


def test_chosen_share_depends_on_the_examples_alone() -> None:
    whole = choose_examples(batch(400), 0.25)
    assert 60 <= len(whole) <= 140
    assert whole == choose_examples(batch(400), 0.25)
    assert choose_examples(batch(100), 0.25) == [place for place in whole if place < 100]
    assert set(whole) <= set(choose_examples(batch(400), 0.5))
    assert choose_examples(batch(5), 1.0) == [0, 1, 2, 3, 4]
    assert choose_examples(batch(5), 0.0) == []


def test_chosen_share_does_not_depend_on_the_target_of_an_example_with_a_key() -> None:
    one = batch(400)
    rows = [torch.tensor([7, number]) for number in range(400)]
    other = one.replace(targets=SequenceBatch.from_list(rows))
    assert choose_examples(one, 0.25) == choose_examples(other, 0.25)


def test_all_variants_of_a_word_are_chosen_or_none() -> None:
    first, second, last = (
        choose_examples(batch(400, name), 0.25) for name in ("d:w{}", "d:w{}(2)", "d:w{}(13)")
    )
    assert first == second == last
    assert 60 <= len(first) <= 140
    assert choose_examples(batch(400, "d:(a) w{}"), 0.25) != first  # no number at the end


def test_examples_without_a_key_are_chosen_by_their_targets() -> None:
    one = batch(400, "0")
    assert 60 <= len(choose_examples(one, 0.25)) <= 140


def test_unlabelled_sequences_are_not_chosen() -> None:
    labelled = torch.tensor([True, False, True])
    assert choose_examples(batch(3).replace(labelled=labelled), 1.0) == [0, 2]
