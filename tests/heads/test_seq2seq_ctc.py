"""A sequence head without decoder, which reads symbols off the encoder's positions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seqattn import Encoder, Example, Seq2Seq
from seqattn.errors import DataError
from seqattn.heads.ctc import ctc_loss
from tests.heads.small_heads import build_on, frontend, loader, trainer
from tests.heads.small_seq2seq import decoder, reader, sounds, train
from tests.heads.small_sound import SampleFrontEnd

TARGETS = ("a b", "b a a", "", "b")


SPOKEN = {
    "a b": [0.0, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0, 0.0],
    "b a a": [-1.0, -1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0],
    "": [0.0, 0.0, 0.0],
    "b": [0.0, 0.0, -1.0, -1.0],
}


def test_head_learns_to_read_and_says_when() -> None:
    head = reader(TARGETS)
    data = [Example((samples, 10), text, text) for text, samples in SPOKEN.items()]
    train(head, data, 100)
    raw = [example.source for example in data]
    assert head.predict(raw) == list(SPOKEN)
    assert head.predict(raw, width=4) == list(SPOKEN)
    found = head.predict(raw, times=True)
    assert [one["output"] for one in found] == list(SPOKEN)
    for one, samples in zip(found, SPOKEN.values(), strict=True):
        for start, end, word, sure in one["words"]:
            said = {"a": 1.0, "b": -1.0}[word]
            assert all(
                samples[place] == said for place in range(round(10 * start), round(10 * end))
            )
            assert 0.5 < sure <= 1


def test_loss_is_per_symbol_over_the_whole_step() -> None:
    head = reader(TARGETS)
    batch = head.collate(sounds(TARGETS))
    output = head(batch)
    loss = head.loss(output, output.batch)
    assert loss.weight.tolist() == [2, 3, 1, 1]
    each = []
    for example in sounds(TARGETS):
        one = head(head.collate([example]))
        each.append(head.loss(one, one.batch).sums()[0])
    torch.testing.assert_close(loss.sums()[0], torch.stack(each).sum())
    probabilities = output.logits[16:24].log_softmax(-1)  # of the empty target: blanks only
    torch.testing.assert_close(each[2], -probabilities[:, 0].sum())


def test_n_best_words_are_timed_too() -> None:
    (ranked,) = reader().eval().predict([sounds([""])[0].source], width=3, n_best=2, times=True)
    assert [set(one) for one in ranked] == [{"output", "score", "finished", "words"}] * 2
    assert all(one["finished"] for one in ranked)
    assert all(len(one["words"]) == len(one["output"].split()) for one in ranked)


def test_validation_has_no_teacher() -> None:
    head = reader(TARGETS)
    (found,) = trainer().test(head, loader(head, sounds(TARGETS)), verbose=False)
    assert {"test/loss", "test/exact_match", "test/token_error_rate", "test/bleu"} <= found.keys()
    assert not {"test/accuracy", "test/gap"} & found.keys()


@pytest.mark.parametrize(
    ("samples", "target", "rule"),
    [
        (2, "a b a", "got 3 symbols and 0 repeated for 2 frames"),
        (2, "a a", "got 2 symbols and 1 repeated for 2 frames"),
        (0, "a", "got 1 symbols and 0 repeated for 0 frames"),
    ],
)
def test_target_longer_than_its_frames_is_refused_with_its_key(
    samples: int, target: str, rule: str
) -> None:
    head = reader()
    batch = head.collate([*sounds(["b"]), Example(([1.0] * samples, 10), target, "short")])
    with pytest.raises(DataError, match=f"'short': a target must not be longer.*{rule}"):
        head.step(batch, "train")


def test_empty_source_with_empty_target_costs_nothing() -> None:
    head = reader()
    for data in ([Example(([], 10), "", "0")], [Example(([], 10), "", "0"), *sounds(["a"])]):
        loss = head.step(head.collate(data), "train")
        assert float(loss.values[0]) == 0
        loss.sums()[0].backward()
    assert head.predict([([], 10)]) == [""]
    assert head.predict([([], 10)], width=2) == [""]


@pytest.mark.parametrize("settings", [{}, {"width": 2}, {"times": True}])
def test_non_finite_scores_name_frame_and_example(settings: dict[str, Any]) -> None:
    with torch.no_grad():
        head = reader()
        head.output.bias[0] = float("nan")
    rule = "'0': log_probs must be finite, got NaN or inf at frame 0"
    with pytest.raises(DataError, match=rule):
        head.predict([sounds(["a"])[0].source], **settings)


def test_empty_batch_has_no_loss_and_a_gradient() -> None:
    head = reader()
    loss = head.step(head.collate([]), "train")
    assert loss.values.shape == (0,)
    loss.sums()[0].backward()
    head.step(head.collate([]), "val")


def test_skipped_and_unseen_targets_weigh_nothing() -> None:
    head = reader().eval()
    batch = head.collate([*sounds(["a b", "a c"]), Example(([1.0], 10), "a a a", "skipped")])
    labelled = torch.tensor([True] * 16 + [False])
    loss = head.step(batch.replace(labelled=labelled), "test")
    assert loss.weight.tolist() == [2, 0, 0]
    assert bool(loss.values.isfinite().all())
    counts = head.metrics["test_metrics"]["exact_match"].counts
    assert int(counts[1]) == 2
    assert int(head.unseen["test_unseen"].compute()) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", 1.0),
        ("length_penalty", 1.0),
        ("min_length", 1),
        ("max_length", 9),
        ("max_length_factor", 1.0),
    ],
)
def test_setting_of_a_decoder_is_refused(setting: str, value: Any) -> None:
    rule = f"{setting} needs a decoder, got {value} and decoder=None"
    with pytest.raises(ValueError, match=rule):
        reader(**{setting: value})
    with pytest.raises(ValueError, match=rule):
        reader().predict([([1.0], 10)], **{setting: value})


def test_accuracy_cannot_be_monitored() -> None:
    with pytest.raises(ValueError, match="monitor must be one of loss, exact_match.*'accuracy'"):
        reader(monitor="accuracy")


def test_times_need_a_source_that_has_them() -> None:
    own = Encoder(16, 1, 2, dropout=0.0)
    head = build_on(Seq2Seq(frontend(), own, None), [Example("the cat", "a")])
    assert len(head.predict(["the cat"])) == 1
    with pytest.raises(ValueError, match="times need .* got TextFrontEnd and decoder=None"):
        head.predict(["the cat"], times=True)


@pytest.mark.parametrize("units", ["character", "subword"])
def test_letters_make_words_with_times(units: Any) -> None:
    text = "ab ba"
    head = reader(("ab ba", "ab"), target_units=units)
    vectorizer = head.target_vectorizer
    ids = vectorizer.encode(text)
    assert vectorizer.words(ids)[0][:2] == ("ab", 0)
    assert vectorizer.words(ids)[1][0] == "ba"
    assert vectorizer.words(ids)[1][2] == len(ids) - 1


def hybrid(weight: float) -> Any:
    """A head that writes, and whose encoder is trained to say the same."""
    own = Encoder(16, 1, 2, mixer="none", position="none", dropout=0.0)
    head = Seq2Seq(
        SampleFrontEnd(), own, decoder(), target_units="token", warmup_steps=0, ctc_weight=weight
    )
    return build_on(head, sounds(TARGETS))


def test_ctc_weight_mixes_both_losses_in_training_only() -> None:
    head = hybrid(0.25)
    head.dropout.p = 0.0
    batch = head.collate(sounds(TARGETS))
    output = head(batch)
    mixed = head.loss(output, output.batch)
    written = head.eval().loss(output, output.batch)
    heard = ctc_loss(head.ctc_output(output.hidden), output.batch)
    rows = [length + 1 for length in (2, 3, 0, 1)]
    expected = [
        0.75 * value + 0.25 * float(of_sequence)
        for values, of_sequence in zip(written.values.split(rows), heard.values, strict=True)
        for value in values.tolist()
    ]
    torch.testing.assert_close(mixed.values, torch.tensor(expected))
    torch.testing.assert_close(mixed.weight, written.weight)


def test_ctc_weight_leaves_out_what_training_never_had() -> None:
    head = hybrid(0.5).train()
    batch = head.collate([*sounds(["a b"]), Example(([1.0] * 8, 10), "a z", "new")])
    output = head(batch)
    loss = head.loss(output, output.batch)
    plain = head.eval().loss(output, output.batch)
    torch.testing.assert_close(loss.values[3:], 0.5 * plain.values[3:])
    assert bool((loss.values[:3] > 0.5 * plain.values[:3]).all())


def test_ctc_weight_trains_the_encoder_alone_too() -> None:
    head = hybrid(0.5)
    examples = sounds(TARGETS)
    losses = train(head, examples, 30)
    assert losses[-1] < 0.5 * losses[0]
    assert head.ctc_output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("weight", [-0.1, 1.0, 2.0])
def test_ctc_weight_is_a_share(weight: float) -> None:
    with pytest.raises(ValueError, match=f"ctc_weight must lie in 0 … 1, 1 excluded, got {weight}"):
        hybrid(weight)


def test_ctc_weight_needs_a_decoder() -> None:
    with pytest.raises(ValueError, match="ctc_weight and copy need a decoder, got None with 0.5"):
        reader(ctc_weight=0.5)


def test_ctc_weight_names_a_target_longer_than_its_frames() -> None:
    head = hybrid(0.5)
    with pytest.raises(DataError, match="sound:0.*got 2 symbols and 0 repeated for 1 frames"):
        train(head, sounds(["a b"], samples=1), 1)


def test_loss_of_a_long_target_is_exact_in_bfloat16() -> None:
    target = " ".join(["a", "b"] * 150 + ["a"])
    head = reader([target])
    batch = head.collate(sounds([target], samples=400))
    output = head(batch)
    exact = head.loss(output, output.batch).sums()[0]
    narrow = replace(output, logits=output.logits.bfloat16())
    again = replace(narrow, logits=narrow.logits.float())
    found, wanted = (head.loss(one, one.batch).sums()[0] for one in (narrow, again))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(found, exact, rtol=0.01, atol=0)
