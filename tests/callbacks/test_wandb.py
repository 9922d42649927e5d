import pytest
import torch

from seqattn.callbacks.wandb import WandbTables, confusion


def test_confusion_counts_targets_by_row_and_predictions_by_column() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    targets = torch.tensor([0, 0, 1, -1])
    assert confusion(logits, targets).tolist() == [[1, 1], [0, 1]]


def test_confusion_leaves_unlabelled_positions_out() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    counts = confusion(logits, torch.tensor([0, 1]), torch.tensor([False, True]))
    assert counts.tolist() == [[0, 0], [0, 1]]


def test_samples_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="samples must not be negative, got -1"):
        WandbTables(-1)
