"""Weights taken from another checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import seqattn
from seqattn import Example, SequenceClassification, TokenLabeling
from tests.heads.small_heads import encoder, frontend, loader, tagged, tagger, trainer


def save(head: Any, path: Path) -> str:
    """Fit for an epoch, write a checkpoint, return its path."""
    runner = trainer()
    runner.fit(head, loader(head, tagged()))
    runner.save_checkpoint(path)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tagger(), tmp_path_factory.mktemp("run") / "tagger.ckpt")


def taken(head: Any, path: str) -> set[str]:
    """Names of the parameters that equal the checkpoint's."""
    saved = torch.load(path, weights_only=True)["state_dict"]
    own = head.state_dict()
    return {
        name
        for name in own
        if name in saved
        and own[name].shape == saved[name].shape
        and torch.equal(own[name], saved[name])
    }


OTHER = [Example(["cat", "sat", "novel"], "odd", "0"), Example(["a"], "even", "1")]
CONSTANT = ("norm", "bias")  # equal in every new model


def started(head: Any, examples: Any) -> Any:
    """Build a head as the Trainer does, and train it by nothing."""
    trainer(limit_train_batches=0).fit(head, loader(head, examples))
    return head


def test_same_front_end_takes_vocabulary_and_all_but_the_output(checkpoint: str) -> None:
    head = started(
        SequenceClassification(frontend(dropout=0.3), encoder(dropout=0.2), init_from=checkpoint),
        OTHER,
    )
    assert "novel" not in head.frontend.vectorizer.symbols
    assert head.labels == ["even", "odd"]
    own = {name for name in head.state_dict() if not name.startswith("output.")}
    assert taken(head, checkpoint) >= own


def test_other_front_end_takes_the_encoder_only(checkpoint: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "seqattn")
    head = started(
        SequenceClassification(frontend(token_length=5), encoder(), init_from=checkpoint), OTHER
    )
    assert "novel" in head.frontend.vectorizer.symbols
    found = {n for n in taken(head, checkpoint) if not any(part in n for part in CONSTANT)}
    assert found == {
        name
        for name in head.state_dict()
        if name.startswith("encoder.") and not any(part in name for part in CONSTANT)
    }
    sentence = next(r.getMessage() for r in caplog.records if "init_from" in r.getMessage())
    count = sum(name.startswith("encoder.") for name in head.state_dict())
    assert f"took {count} of {len(head.state_dict())} tensors (encoder ({count}))" in sentence
    assert "new: frontend (" in sentence
    assert "output (2)" in sentence


def test_another_depth_takes_the_layers_that_match(checkpoint: str) -> None:
    head = started(TokenLabeling(frontend(), encoder(depth=3), init_from=checkpoint), tagged())
    found = taken(head, checkpoint)
    assert "encoder.layers.1.feedforward.expand.weight" in found
    assert "output.weight" in found  # the labels are the same
    assert not any(name.startswith("encoder.layers.2") for name in found)


def test_another_width_takes_nothing_that_does_not_fit(checkpoint: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "seqattn")
    started(TokenLabeling(frontend(), encoder(dim=8), init_from=checkpoint), tagged())
    assert any("init_from" in record.getMessage() for record in caplog.records)


def test_init_from_a_missing_file_is_refused() -> None:
    with pytest.raises(
        FileNotFoundError, match="the checkpoint must be a file, got 'nowhere.ckpt'"
    ):
        started(tagger(init_from="nowhere.ckpt"), tagged())


def test_a_loaded_head_does_not_need_what_it_began_from(checkpoint: str, tmp_path: Path) -> None:
    first = tmp_path / "first.ckpt"
    first.write_bytes(Path(checkpoint).read_bytes())
    second = save(tagger(init_from=str(first)), tmp_path / "second.ckpt")
    first.unlink()
    assert seqattn.load(second).predict([["old"]])
