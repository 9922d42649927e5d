from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import seqattn
from seqattn import DataError, Example
from seqattn.predictions import predict
from tests.heads import small_sound
from tests.heads.small_heads import (
    build_on,
    classifier,
    fit,
    gradients,
    labelled,
    language_model,
    loader,
    tagged,
    tagger,
    trainer,
)

RAW = [["old", "cat"], [], ["the"] * 30, ["new"], ["a", "red", "mat"]]


def head() -> Any:
    return build_on(tagger(), tagged())


def test_predictions_come_in_order_whatever_the_batches() -> None:
    model = head()
    expected = [model.predict([raw])[0] for raw in RAW]
    for batch_tokens in (None, 1, 7, 33, 1000):
        assert model.predict(RAW, batch_tokens=batch_tokens) == expected


def test_no_sources_give_no_predictions() -> None:
    assert head().predict([]) == []
    assert seqattn.hidden_states(head(), []) == []


def test_a_model_in_training_predicts_without_dropout_and_goes_on_training() -> None:
    model = build_on(tagger(), tagged()).train()
    model.encoder.layers[0].dropout.p = 0.9
    assert model.predict(RAW) == model.predict(RAW)
    assert model.training


@pytest.mark.parametrize(
    ("call", "kind", "rule"),
    [
        (lambda m: m.predict("one text"), TypeError, r"raw must be a list.*\['one text'\]"),
        (lambda m: m.predict(Path("a.wav")), TypeError, "raw must be a list .* one PosixPath: "),
        (lambda m: m.predict(3), TypeError, r"raw must be a list of sources, got one int: \[3\]"),
        (lambda m: seqattn.hidden_states(m, 3), TypeError, "raw must be a list .* got one int"),
        (lambda m: m.predict(RAW, beam=3), TypeError, r"no decode setting 'beam' \(none\)"),
        (lambda m: m.predict(RAW, batch_tokens=0), ValueError, "batch_tokens must be at least 1"),
        (lambda m: m.predict([["a"], 3]), DataError, "example '1': a text source must be"),
        (lambda m: m.predict([["a"], None]), DataError, "example '1': a text source must be"),
    ],
)
def test_a_wrong_call_is_refused(call: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=rule):
        call(head())


def test_a_head_without_vocabulary_does_not_predict() -> None:
    with pytest.raises(RuntimeError, match="must be fitted or loaded before it predicts"):
        tagger().predict(RAW)


def test_settings_reach_the_heads_own_decode() -> None:
    class Cut(seqattn.TokenLabeling):
        def decode(self, output: Any, batch: Any, *, length: int = 99) -> Any:
            return [labels[:length] for labels in super().decode(output, batch)]

    model = build_on(Cut(head().frontend, head().encoder), tagged())
    assert [len(labels) for labels in predict(model, RAW, settings={"length": 2})] == [
        2,
        0,
        2,
        1,
        2,
    ]


def test_hidden_states_are_those_of_each_source_alone() -> None:
    model = head()
    found = seqattn.hidden_states(model, RAW, layers=[0, -1])
    assert [tuple(states.shape) for states in found] == [(2, len(raw), 16) for raw in RAW]
    for raw, states in zip(RAW, found, strict=True):
        batch = model.collate([Example(raw)])
        with torch.no_grad():
            every = model.eval().encode_inputs(model.frontend(batch), every_layer=True)
        torch.testing.assert_close(states, torch.stack([every[0], every[-1]]), rtol=0, atol=1e-5)
    assert [len(states) for states in seqattn.hidden_states(model, RAW)] == [3] * 5


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(IndexError, match="layers must lie in 0 … 2, got 3"):
        seqattn.hidden_states(head(), RAW, layers=[3])


ODD = [
    "",
    "   ",
    "zzz qqq",
    "😀 👩‍👩‍👧 🇩🇪",
    "שלום עולם",
    "e\u0301a\u0300 o\u0308",
    "one two",
    "\u200b",
    "\ud800",
    "x",
]
ODD_TOKENS = [[], ["New York", " "], [""], ["😀", "שלום", "e\u0301"], ["\ud800", "a"], ["x"]]


def is_close(one: Any, other: Any) -> bool:
    """Whether predictions are equal; numbers to a rounding, which a batch's size may change."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_close(one[k], other[k]) for k in one)
    return one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


@pytest.mark.parametrize(
    ("make", "raw", "target"),
    [
        (tagger, ODD_TOKENS, lambda raw: ["x"] * len(raw)),
        (classifier, [*ODD, *ODD_TOKENS], lambda _: "x"),
        (lambda: classifier(pooling="attention"), [*ODD, *ODD_TOKENS], lambda _: "x"),
        (lambda: classifier(objective="multi_label"), ODD, lambda _: ["x", "y"]),
        (lambda: classifier(objective="regression"), ODD, lambda _: 1.5),
        (language_model, ODD, lambda _: None),
        (lambda: language_model(objective="masked"), ODD, lambda _: None),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_odd_text_gives_finite_gradients_and_a_prediction_each(
    make: Any, raw: Any, target: Any, seen: bool
) -> None:
    examples = [Example(source, target(source), str(i)) for i, source in enumerate(raw)]
    plain = ["a"] if make is tagger else "a"
    known = examples if seen else [Example(plain, target(plain))]
    model = build_on(make(), known).train()
    for batch in (examples, *([example] for example in examples)):
        model.zero_grad()
        total, weight = model.step(model.collate(batch), "train").sums()
        total.backward()
        assert total.isfinite()
        assert weight.isfinite()
        assert all(bool(gradient.isfinite().all()) for gradient in gradients(model).values())
    found = model.predict(raw)
    assert len(found) == len(raw)
    if make is tagger:
        assert [len(labels) for labels in found] == [len(tokens) for tokens in raw]
    else:
        alone = [model.predict([source])[0] for source in raw]
        assert all(map(is_close, found, alone))


def test_the_trainer_predicts_what_the_head_does() -> None:
    model = fit(classifier(), labelled())
    texts = [example.source for example in labelled()]
    found = trainer().predict(model, loader(model, [Example(text) for text in texts]))
    assert found is not None
    flat = [prediction for batch in found for prediction in batch]
    assert [p["label"] for p in flat] == [p["label"] for p in model.predict(texts)]


def long_sound(length: int) -> Any:
    torch.manual_seed(1)
    return (torch.randn(length).tolist(), small_sound.RATE)


def sound_examples() -> list[Example]:
    spans = [(0.0, 2.0, "a"), (2.0, 4.0, "b")]
    return [Example(long_sound(60), spans if number else []) for number in range(2)]


def test_a_long_source_is_predicted_in_pieces_as_it_is_whole() -> None:
    # a position sees five to each side, and pieces share twenty
    model = small_sound.labeler(sound_examples())
    raw = [long_sound(length) for length in (30, 61, 500, 0)]
    in_pieces = model.predict(raw)
    model.frontend.vectorizer.chunk = 1000.0
    assert in_pieces == model.predict(raw)
    assert len(in_pieces[2]) > 50


def test_predictions_of_a_long_source_are_averaged_by_length() -> None:
    examples = [Example(long_sound(60), "a"), Example(long_sound(50), "b")]
    model = small_sound.classifier(examples)
    samples, rate = long_sound(100)
    whole, first, last = model.predict(
        [(samples, rate), (samples[:60], rate), (samples[40:], rate)]
    )
    for label, score in whole["scores"].items():
        expected = (first["scores"][label] + last["scores"][label]) / 2
        assert score == pytest.approx(expected, abs=1e-6)


def test_a_long_source_is_whole_for_a_head_that_joins_no_pieces() -> None:
    class Counts(seqattn.TokenLabeling):
        join_pieces = None  # type: ignore[assignment]

        def decode(self, output: Any, batch: Any) -> Any:
            return list(batch.packing.lengths)

    parts = small_sound.SampleFrontEnd(), small_sound.near_sighted()
    model = build_on(Counts(*parts), sound_examples())
    assert model.predict([long_sound(100)]) == [100]


def test_a_source_that_cannot_be_cut_names_its_place() -> None:
    model = small_sound.labeler(sound_examples())
    with pytest.raises(DataError, match="example '1': the rate must be 10, got 8"):
        model.predict([long_sound(3), ([0.0], 8)])


def test_a_piece_that_breaks_a_rule_names_its_place() -> None:
    model = small_sound.labeler(sound_examples())
    samples, rate = long_sound(100)
    samples[70] = float("nan")
    with pytest.raises(DataError, match="example '0 at 4 s': values must be finite, got .nan."):
        model.predict([(samples, rate)])
