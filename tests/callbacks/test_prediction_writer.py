from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from seqattn.callbacks.prediction_writer import (
    PredictionWriter,
    require_complete,
    require_distinct,
)
from seqattn.errors import DataError


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
