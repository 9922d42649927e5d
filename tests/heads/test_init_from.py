"""Weights taken from another checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import seqattn
from seqattn import Example, LanguageModel, SequenceClassification, TokenLabeling
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
        SequenceClassification(frontend(lowercase=True), encoder(), init_from=checkpoint), OTHER
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


@pytest.mark.parametrize("units", ["character", "subword"])
def test_a_language_model_gives_its_symbols_to_every_layout(units: Any, tmp_path: Path) -> None:
    """Pretraining reads lines, with a begin symbol; the tasks read token lists and pairs."""
    size = 280 if units == "subword" else None
    arguments = {"units": units, "vocabulary_size": size}
    model = LanguageModel(frontend(begin=True, **arguments), encoder(pattern="causal"))
    runner = trainer()
    runner.fit(model, loader(model, [Example("the old cat sat"), Example("a mat")]))
    path = str(tmp_path / "model.ckpt")
    runner.save_checkpoint(path)

    tags = TokenLabeling(frontend(**arguments), encoder(), init_from=path)
    pairs = SequenceClassification(frontend(**arguments), encoder(), init_from=path)
    started(tags, [Example(["cat", "novel"], ["NOUN", "ADJ"]), Example(["a"], ["DET"])])
    started(pairs, [Example(("the cat", "zzz"), "x"), Example(("a", "b"), "y")])
    for head in (tags, pairs):
        assert head.frontend.vectorizer.symbols == model.frontend.vectorizer.symbols
        found = taken(head, path)
        assert "frontend.symbols.table" in found
        assert {name for name in head.state_dict() if name.startswith("encoder.")} <= found
    assert tags.frontend.vectorizer.has_tokens
    assert not tags.frontend.vectorizer.has_pairs
    assert pairs.frontend.vectorizer.has_pairs
    assert len(tags.predict([["cat", "novel"]])[0]) == 2


def test_layout_and_dropout_do_not_keep_an_embedding_from_being_taken(checkpoint: str) -> None:
    parts = frontend(begin=True, max_tokens=9, dropout=0.5, token_length=3, word_dropout=0.1)
    head = started(SequenceClassification(parts, encoder(), init_from=checkpoint), OTHER)
    assert {"frontend.symbols.table", "frontend.characters.embedding.weight"} <= taken(
        head, checkpoint
    )


def test_a_language_model_of_other_symbols_keeps_its_own_output(tmp_path: Path) -> None:
    def model(**arguments: Any) -> LanguageModel:
        parts = frontend(units="character", begin=True, lowercase=bool(arguments))
        return LanguageModel(parts, encoder(pattern="causal"), **arguments)

    first = model()
    runner = trainer()
    runner.fit(first, loader(first, [Example("abc")]))
    runner.save_checkpoint(tmp_path / "x.ckpt")
    other = started(model(init_from=str(tmp_path / "x.ckpt")), [Example("xyz")])
    assert not {"output.weight", "frontend.symbols.table"} & taken(other, str(tmp_path / "x.ckpt"))


def test_every_parameter_is_listed_at_level_debug(checkpoint: str, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "seqattn")
    head = started(
        SequenceClassification(frontend(), encoder(depth=1), init_from=checkpoint), OTHER
    )
    said = {
        record.getMessage().removeprefix(f"init_from {checkpoint}: ") for record in caplog.records
    }
    assert {"took encoder.final_norm.weight", "new: output.weight"} <= said
    assert len([line for line in said if line.startswith(("took ", "new: "))]) > len(
        list(head.parameters())
    )


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
