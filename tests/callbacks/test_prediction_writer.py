import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from seqattn import Example, SequenceData, hidden_states
from seqattn.callbacks.prediction_writer import (
    PredictionWriter,
    require_complete,
    require_distinct,
)
from seqattn.data import Reader
from seqattn.errors import DataError
from tests.heads import small_sound
from tests.heads.small_heads import QUIET


@pytest.mark.parametrize(
    ("expected", "found", "rule"),
    [
        (["a", "b"], ["a"], "example 'b': every example must be predicted"),
        (["a"], ["a", "c"], "example 'c': a prediction must belong to an example"),
        (["a", "a"], ["a"], "example 'a': keys of the prediction set must differ"),
    ],
)
def test_an_incomplete_set_is_refused(expected: list[str], found: list[str], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        require_complete(expected, found)


def test_keys_must_differ() -> None:
    with pytest.raises(DataError, match="'a': keys of the prediction set must differ"):
        require_distinct(["a", "b", "a"])


def test_a_run_that_ends_early_leaves_no_predictions_file(tmp_path: Path) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path, logger=False, accelerator="cpu", enable_checkpointing=False
    )
    writer = PredictionWriter()
    writer.on_predict_start(trainer, None)  # type: ignore[arg-type]
    writer.on_exception(trainer, None, KeyboardInterrupt())  # type: ignore[arg-type]
    assert not (tmp_path / "predictions.jsonl").exists()


class Sounds(Reader):
    """Sounds of 0.5 to 50 seconds, labelled in segments; a prediction needs no label."""

    def read(self) -> Iterator[Example]:
        for number, length in enumerate(LENGTHS):
            yield Example(sound(length, number), [(0.0, 0.1, "a")], f"sound {number}")


LENGTHS = (30, 500, 61, 5)


def sound(length: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, generator=generator).tolist(), small_sound.RATE


def write(head: Any, directory: Path, reader: Reader, **settings: Any) -> Path:
    """Predict as the command does, and return where the files are."""
    runner = Trainer(**QUIET, default_root_dir=directory, callbacks=[PredictionWriter(**settings)])
    data = SequenceData(predict=reader, batch_tokens=200)
    runner.predict(head, datamodule=data, return_predictions=False)
    return directory


def labeler() -> Any:
    spans = [(0.0, 2.0, "a"), (2.0, 4.0, "b")]
    return small_sound.labeler([Example(sound(60, 7), spans), Example(sound(60, 8), [])])


def classifier() -> Any:
    return small_sound.classifier([Example(sound(60, 7), "a"), Example(sound(50, 8), "b")])


@pytest.mark.parametrize("make", [labeler, classifier])
def test_long_sources_are_written_as_the_head_predicts_them(make: Any, tmp_path: Path) -> None:
    head = make()
    path = write(head, tmp_path, Sounds()) / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["key"] for row in rows] == [f"sound {number}" for number in range(4)]
    expected = head.predict([example.source for example in Sounds().read()])
    if make is labeler:
        assert [row["prediction"] for row in rows] == expected
        assert len(expected[1]) > 50
    for row, prediction in zip(rows, expected, strict=True):
        if make is classifier:
            assert row["prediction"]["label"] == prediction["label"]
            assert row["prediction"]["scores"] == pytest.approx(prediction["scores"], abs=1e-6)


def test_hidden_states_of_a_long_source_are_those_of_its_pieces(tmp_path: Path) -> None:
    head = labeler()
    directory = write(head, tmp_path, Sounds(), hidden_states=[-1])
    (whole,) = hidden_states(head, [sound(61, 2)], layers=[-1])
    with np.load(directory / "hidden_states.npz") as states:
        assert states.files[0] == "sound 0"
        assert states.files[-3:] == ["sound 2 at 0 s", "sound 2 at 4 s", "sound 3"]
        first, last = states["sound 2 at 0 s"], states["sound 2 at 4 s"]
        assert (first.shape, last.shape) == ((1, 60, 16), (1, 21, 16))
    # a position sees five to each side, and the second piece begins at 40
    np.testing.assert_allclose(first[:, :55], whole[:, :55], atol=1e-5)
    np.testing.assert_allclose(last[:, 5:], whole[:, 45:], atol=1e-5)


def test_key_that_a_piece_has_as_well_is_refused(tmp_path: Path) -> None:
    class Named(Sounds):
        def read(self) -> Iterator[Example]:
            yield Example(sound(100, 0), key="a")
            yield Example(sound(10, 0), key="a at 4 s")

    with pytest.raises(DataError, match="'a at 4 s': keys of the prediction set must differ"):
        write(labeler(), tmp_path, Named())
