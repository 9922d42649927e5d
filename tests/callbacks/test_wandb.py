import pytest
import torch

from seqattn import Encoder, LanguageModel, TextFrontEnd, TokenLabeling
from seqattn.callbacks.wandb import WandbTables, confusion, number_of_classes


def test_confusion_counts_targets_by_row_and_predictions_by_column() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    targets = torch.tensor([0, 0, 1, -1])
    assert confusion(logits, targets).tolist() == [[1, 1], [0, 1]]


def test_confusion_leaves_unlabelled_positions_out() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    counts = confusion(logits, torch.tensor([0, 1]), torch.tensor([False, True]))
    assert counts.tolist() == [[0, 0], [0, 1]]


def test_confusion_leaves_a_mask_of_another_shape_out() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])  # two sequences
    labelled = torch.ones(5, dtype=torch.bool)  # of five positions
    assert confusion(logits, torch.tensor([0, 1]), labelled).tolist() == [[1, 0], [0, 1]]


def test_a_language_models_symbols_are_no_classes() -> None:
    frontend = TextFrontEnd(units="character")
    frontend.vectorizer.fit(["ab"])
    head = LanguageModel(frontend, Encoder(8, depth=1, heads=2, pattern="causal"))
    assert len(head.labels) > 2
    assert number_of_classes(head) == 0


def test_classes_are_those_of_the_data() -> None:
    head = TokenLabeling(TextFrontEnd(units="word"), Encoder(8, depth=1, heads=2))
    head.fit_vectorizers([["a", "b"]], [["X", "Y"]])
    assert number_of_classes(head) == 2


def test_samples_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="samples must not be negative, got -1"):
        WandbTables(-1)
