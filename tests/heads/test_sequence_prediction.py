"""A sequence head on sounds that are longer than one piece."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from seqattn import Encoder, Example, Seq2Seq, SequenceData
from seqattn.callbacks.prediction_writer import PredictionWriter
from seqattn.data import Reader
from seqattn.errors import DataError
from tests.heads.small_heads import build_on, trainer
from tests.heads.small_seq2seq import decoder, reader, train
from tests.heads.small_sound import RATE, SampleFrontEnd

SPOKEN = {"a b": [0.0, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0, 0.0], "b a": [-1.0, 0.0, 1.0, 0.0]}


@cache
def taught(target_units: Any = "token", between: str = " ") -> Any:
    """A head that hears ``a`` in 1 and ``b`` in -1."""
    torch.manual_seed(0)
    texts = {text.replace(" ", between): (samples, RATE) for text, samples in SPOKEN.items()}
    head = reader(tuple(texts), target_units=target_units)
    train(head, [Example(sound, text, text) for text, sound in texts.items()], 100)
    return head


def long_sound(length: int = 150) -> Any:
    """Words of three samples in turn, two silent samples between them; 15 seconds by default."""
    cycle = [1.0, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0, -1.0, 0.0, 0.0]
    return [cycle[place % 10] for place in range(length)], RATE


def whole(head: Any, raw: Any, **settings: Any) -> Any:
    """What the head says of sounds that are not cut."""
    vectorizer = head.frontend.vectorizer
    vectorizer.chunk, usual = 1000.0, vectorizer.chunk
    try:
        return head.predict(raw, **settings)
    finally:
        vectorizer.chunk = usual


@pytest.mark.parametrize("settings", [{}, {"times": True}, {"width": 3}, {"batch_tokens": 1}])
def test_long_sound_reads_as_in_one_piece(settings: Any) -> None:
    head, raw = taught(), [long_sound(), long_sound(30), long_sound(133)]
    found = head.predict(raw, **settings)
    text = " ".join(["a", "b"] * 15)
    assert found == whole(head, raw, **settings)
    assert (found[0]["output"] if "times" in settings else found[0]) == text


def test_long_sound_gives_tokens_where_training_targets_were_tokens() -> None:
    head = build_on(
        Seq2Seq(SampleFrontEnd(), Encoder(16, 1, 2, mixer="none", position="none"), None),
        [Example(long_sound(20), ["a", "b"])],
    )
    (found,) = head.predict([long_sound()])
    assert isinstance(found, list)


class Sounds(Reader):
    """Gives a long sound and a short one."""

    def read(self) -> Any:
        yield Example(long_sound(), key="long")
        yield Example(long_sound(20), key="short")


def predict_with_trainer(head: Any) -> Any:
    """The predictions of a run's batches by key, and the data module."""
    data = SequenceData(predict=Sounds(), batch_tokens=100)
    head.eval()
    run = trainer()
    found = run.predict(head, datamodule=data)
    keys = [key for batch in run.predict_dataloaders for key in batch.keys]
    return dict(zip(keys, [one for rows in found for one in rows], strict=True)), data


def test_pieces_of_a_trainers_run_have_times_to_join_them_by() -> None:
    head = taught()
    found, data = predict_with_trainer(head)
    assert found.pop("short") == "a b a b"
    assert all(set(one) == {"output", "words"} for one in found.values())
    (cut,) = [one for one in data.cut_examples() if one.pieces]
    joined = cut.join(head, [found[example.key] for example in cut.examples])
    assert joined == whole(head, [long_sound()])[0]


def test_command_writes_what_the_head_predicts(tmp_path: Path) -> None:
    head, data = taught(), SequenceData(predict=Sounds(), batch_tokens=100)
    trainer(callbacks=[PredictionWriter()], default_root_dir=tmp_path).predict(head, data)
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"key": "long", "prediction": " ".join(["a", "b"] * 15)},
        {"key": "short", "prediction": "a b a b"},
    ]


def teller() -> Any:
    """A head with a decoder, on sounds."""
    own = Encoder(16, 1, 2, mixer="none", position="none", dropout=0.0)
    head = Seq2Seq(SampleFrontEnd(), own, decoder(), max_length=4)
    return build_on(head, [Example(long_sound(20), "a b")])


TOO_LONG = "a sound must be at most piece_seconds = 6 seconds long for a decoder, .* got 15: raise"


def test_decoder_refuses_a_long_sound_before_it_writes() -> None:
    head = teller()
    with pytest.raises(DataError, match=f"'1': {TOO_LONG}"):
        head.predict([long_sound(60), long_sound()])
    with pytest.raises(DataError, match=f"'long': {TOO_LONG}"):
        predict_with_trainer(head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(head.predict([long_sound(60)])) == 1  # just as long as a piece


def test_n_best_of_a_long_sound_is_refused() -> None:
    rule = "'0': n_best needs a sound of at most piece_seconds = 6 seconds, got 15"
    with pytest.raises(DataError, match=rule):
        taught().predict([long_sound()], width=2, n_best=2)
    assert len(taught().predict([long_sound(60)], width=2, n_best=2)[0]) == 2


def test_long_text_without_a_space_is_refused() -> None:
    head = taught("character", "")
    assert head.predict([long_sound(60)]) == ["ab" * 6]
    rule = "pieces of a sound must have the same words where they overlap, got none from 4 to 6"
    with pytest.raises(ValueError, match=rule):
        head.predict([long_sound()])


def test_one_string_is_refused_as_ever() -> None:
    with pytest.raises(TypeError, match="raw must be a list of sources, got one string"):
        taught().predict("a.wav")
