from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from seqattn.batch import Example
from seqattn.callbacks.prediction_writer import PredictionWriter, conllu_block, require_complete
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


def test_a_sentence_of_conllu_has_ten_columns() -> None:
    block = conllu_block(Example(["New York", "sleeps"], key="s1"), ["PROPN", "VERB"])
    assert block == (
        "# sent_id = s1\n# text = New York sleeps\n"
        "1\tNew York\t_\tPROPN\t_\t_\t_\t_\t_\t_\n"
        "2\tsleeps\t_\tVERB\t_\t_\t_\t_\t_\t_\n\n"
    )


@pytest.mark.parametrize("tags", [["X"], {"label": "y"}])
def test_conllu_needs_one_tag_per_token(tags: object) -> None:
    with pytest.raises(DataError, match="format=conllu needs one label per token"):
        conllu_block(Example(["a", "b"], key="s"), tags)  # type: ignore[arg-type]


def test_a_run_that_ends_early_leaves_no_predictions_file(tmp_path: Path) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path, logger=False, accelerator="cpu", enable_checkpointing=False
    )
    writer = PredictionWriter()
    writer.on_predict_start(trainer, None)  # type: ignore[arg-type]
    writer._part.close()
    assert not (tmp_path / "predictions.jsonl").exists()
