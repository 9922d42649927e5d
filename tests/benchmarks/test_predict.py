from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import predict, record
from benchmarks.padded_tagger import PaddedTagger
from seqattn import Encoder, TextFrontEnd, TokenLabeling


def sentences(count: int = 40) -> list[list[str]]:
    examples = predict.make_sentences(count, torch.Generator().manual_seed(0))
    return [example.source for example in examples]


def tagger(**options: str) -> TokenLabeling:
    torch.manual_seed(0)
    head = TokenLabeling(
        TextFrontEnd("word", character_dim=4, dropout=0.0),
        Encoder(16, 2, heads=2, position=options.get("position", "rotary")),  # type: ignore[arg-type]
    )
    head.fit_vectorizers(sentences(), [[word[-1] for word in words] for words in sentences()])
    head.configure_model()
    return head.eval()


def test_both_sides_are_recorded_when_run_quickly(tmp_path: Path) -> None:
    predict.main(["--quick", "--results", str(tmp_path)])

    (row,) = record.read_rows(tmp_path, "predict")
    figures = row["figures"]
    assert isinstance(figures, dict)
    assert {"packed, tokens/s", "padded, tokens/s", "ratio to padded"} <= figures.keys()
    assert figures["ratio to padded"] > 0
    assert figures["largest difference of logits"] <= 1e-4


def test_padded_predictions_equal_those_of_the_head_in_any_batches() -> None:
    head, words = tagger(), sentences()

    found = PaddedTagger(head).predict(words, predict.batch_randomly(words, seed=1))

    assert found == head.predict(words)


def test_an_error_is_raised_when_the_padded_tagger_would_compute_another_model() -> None:
    with pytest.raises(ValueError, match="encoder must have rotary full attention"):
        PaddedTagger(tagger(position="alibi"))


def test_fill_is_the_part_of_the_slots_that_hold_words() -> None:
    words = [["a"] * 4, ["a"], ["a"] * 3]

    assert predict.fill(words, [[0, 1], [2]]) == 8 / 11


def test_made_up_lengths_are_those_of_web_text() -> None:
    lengths = torch.tensor([float(len(words)) for words in sentences(4000)])

    assert lengths.mean() == pytest.approx(15, abs=1)
    assert (lengths.min(), lengths.max() <= 160) == (1, True)


def test_an_error_is_raised_when_many_labels_differ() -> None:
    with pytest.raises(ValueError, match="labels must agree, got 1 of 2 that differ"):
        predict.count_differing([["a", "b"]], [["a", "c"]])
