import pytest
import torch

from seqattn import SequenceBatch
from seqattn.heads.unseen_labels import UnseenLabels

OFFSETS = torch.tensor([0, 2, 3, 6])
SKIPPED = torch.tensor([True, False, False, True, True, False])  # all of the second sequence


def count(targets: torch.Tensor | SequenceBatch, labelled: torch.Tensor | None) -> int:
    meter = UnseenLabels()
    meter.update(
        SequenceBatch(torch.zeros(6, 1), OFFSETS, targets=targets, labelled=labelled, keys="abc")
    )
    return int(meter.compute())


@pytest.mark.parametrize(
    ("targets", "of_all", "of_labelled"),
    [
        (torch.tensor([-1, -1, -1, 0, -1, -1]), 5, 2),  # of positions
        (torch.tensor([-1, -1, 0]), 2, 1),  # of sequences
        (torch.tensor([[1, 0, -2], [0, 1, -4], [1, 1, 0]]), 6, 2),  # several of sequences
        (torch.tensor([-1.0, -1.0, 0.5]), 0, 0),  # numbers
        (SequenceBatch(torch.tensor([-1, 3, -1, -1, 4]), torch.tensor([0, 2, 4, 5])), 3, 1),
    ],
)
def test_labels_are_counted_where_they_count(
    targets: torch.Tensor | SequenceBatch, of_all: int, of_labelled: int
) -> None:
    assert count(targets, None) == of_all
    assert count(targets, SKIPPED) == of_labelled


def test_batches_without_targets_or_sequences_count_nothing() -> None:
    meter = UnseenLabels()
    meter.update(SequenceBatch(torch.zeros(6, 1), OFFSETS, labelled=SKIPPED))
    empty = torch.empty(0, dtype=torch.int64)
    meter.update(SequenceBatch(torch.zeros(0, 1), torch.tensor([0]), targets=empty))
    assert int(meter.compute()) == 0
