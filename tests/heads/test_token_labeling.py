from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch

from seqattn import DataError, Example, TokenLabeling
from tests.heads import small_sound
from tests.heads.small_heads import (
    build_on,
    encoder,
    fit,
    frontend,
    loader,
    tagged,
    tagger,
    trainer,
)

BIO = [Example(["in", "New", "York"], ["O", "B-LOC", "I-LOC"], "train:0")]


@pytest.mark.parametrize(
    ("examples", "names", "monitor"),
    [
        (BIO, {"accuracy", "macro_f1", "span_f1"}, "val/span_f1"),
        (tagged(), {"accuracy", "macro_f1"}, "val/accuracy"),
    ],
)
def test_span_f1_is_measured_when_labels_are_bio(
    examples: list[Example], names: set[str], monitor: str
) -> None:
    head = build_on(tagger(), examples)
    assert set(head.metrics["val_metrics"].keys()) == names
    assert head.monitor == (monitor, "max")


def loss_of(head: Any, logits: list[list[float]], targets: list[int]) -> Any:
    """The head's loss where its output would have been these logits."""
    batch = head.collate([Example(["w"] * len(targets), [head.labels[t] for t in targets])])
    output = head(batch)
    output.logits = torch.tensor(logits)
    return head.loss(output, batch)


def counted() -> list[Example]:
    """Label a three times, b once."""
    return [Example(["x", "y", "z", "w"], ["a", "a", "b", "a"], "train:0")]


def test_loss_is_the_cross_entropy() -> None:
    loss = loss_of(build_on(tagger(), counted()), [[0.0, math.log(3)], [0.0, 0.0]], [1, 0])
    torch.testing.assert_close(loss.values, torch.tensor([math.log(4 / 3), math.log(2)]))
    assert loss.weight.tolist() == [1, 1]


def test_loss_spreads_its_target_when_labels_are_smoothed() -> None:
    head = build_on(tagger(label_smoothing=0.2), counted())
    loss = loss_of(head, [[0.0, math.log(3)]], [1])
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)  # 1 - 0.2 + 0.2 / V, and 0.2 / V
    assert float(loss.values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("class_weights", "expected"),
    [(None, [1, 1]), ("balanced", [4 / (2 * 3), 4 / (2 * 1)]), ({"b": 5.0}, [1, 5])],
)
def test_classes_weigh_what_was_asked(class_weights: Any, expected: list[float]) -> None:
    head = build_on(tagger(class_weights=class_weights), counted())
    loss = loss_of(head, [[0.0, 0.0], [0.0, 0.0]], [0, 1])
    assert loss.weight.tolist() == pytest.approx(expected)
    assert float(loss.sums()[0]) == pytest.approx(sum(expected) * math.log(2))


@pytest.mark.parametrize(
    ("class_weights", "rule"),
    [
        ({"c": 1.0}, r"class_weights must name training labels \(a, b\), got 'c'"),
        ({"a": -1.0}, "class_weights must not be negative, got -1.0 for 'a'"),
        ("even", "class_weights must be 'balanced' or numbers, got 'even'"),
    ],
)
def test_class_weights_are_refused_when_wrong(class_weights: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        loss_of(build_on(tagger(class_weights=class_weights), counted()), [[0.0, 0.0]], [0])


def test_unlabelled_positions_count_nowhere() -> None:
    head = build_on(tagger(), counted())
    batch = head.collate(counted())
    masked = batch.replace(labelled=torch.tensor([True, False, False, True]))
    output = head(masked)
    output.logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert head.loss(output, masked).weight.tolist() == [1, 0, 0, 1]
    metrics = head.metrics["val_metrics"]
    head.update_metrics(metrics, output, masked, head.loss(output, masked))
    assert float(metrics.compute()["accuracy"]) == 1.0  # of two; of all four it would be 1/2


def test_unseen_labels_count_as_wrong_with_one_warning() -> None:
    head = fit(tagger(), counted())
    odd = [
        Example(["x", "y"], ["new", "other"], "val:0"),
        Example(["z"], ["new"], "val:1"),
        Example(["x"], ["a"], "val:2"),
    ]
    runner = trainer()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            found = runner.validate(head, loader(head, odd, batch_size=1), verbose=False)[0]
    said = [str(w.message) for w in caught if "never occur" in str(w.message)]
    assert said == ["3 val labels never occur in training and count as wrong"]
    assert found["val/accuracy"] <= 1 / 4


def test_no_unseen_label_is_told_when_its_position_is_unlabelled() -> None:
    head = build_on(tagger(), counted())
    batch = head.collate([Example(["x", "y"], ["a", "new"])])
    meter = head.unseen["val_unseen"]
    meter.update(batch)
    assert int(meter.compute()) == 1
    meter.reset()
    meter.update(batch.replace(labelled=torch.tensor([True, False])))
    assert int(meter.compute()) == 0


def test_an_unseen_label_is_an_error_when_asked() -> None:
    head = fit(tagger(unseen_labels="error"), counted())
    odd = [Example(["x"], ["new"], "val:7")]
    with pytest.raises(DataError, match="'val:7'.*one of the training labels, got 'new'"):
        trainer().validate(head, loader(head, odd), verbose=False)


@pytest.mark.parametrize(
    ("source", "target", "rule"),
    [
        (["x", "y"], ["a"], "one label per position, got 1 labels for 2 positions"),
        (["x"], ["a", "b"], "one label per position, got 2 labels for 1 positions"),
        (["x"], "a", "the target must be a list of labels, got 'a'"),
        (["x"], None, "the target must be a list of labels, got None"),
    ],
)
def test_labels_that_do_not_fit_name_their_example(source: Any, target: Any, rule: str) -> None:
    head = build_on(tagger(), counted())
    with pytest.raises(DataError, match=f"example 'train:9'.*{rule}"):
        head.collate([*counted(), Example(source, target, "train:9")])


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="the training examples must have targets, got none"):
        fit(tagger(), [Example(["x"])])


def test_evaluation_without_targets_is_refused() -> None:
    head = fit(tagger(), counted())
    with pytest.raises(ValueError, match="needs a target for every position, got none"):
        trainer().validate(head, loader(head, [Example(["x"])]), verbose=False)


def test_prediction_has_one_training_label_per_position() -> None:
    head = build_on(tagger(), tagged())
    found = head.predict([["the", "cat"], [], ["a"] * 9, "old red mat"])
    assert [len(labels) for labels in found] == [2, 0, 9, 3]
    assert {label for labels in found for label in labels} <= set(head.labels)


@pytest.mark.parametrize("layer", ["last", "mix", 0, 1, 2, -1, -3])
def test_head_reads_the_layer_it_names(layer: Any) -> None:
    head = build_on(tagger(layer=layer), tagged()).eval()
    batch = head.collate(tagged())
    states = head.encode_inputs(head.frontend(batch), every_layer=True)
    expected = {
        "last": states[2],
        "mix": (states[0] + states[1] + states[2]) / 3,  # even scores and a gain of 1 at first
        0: states[0],
        1: states[1],
        2: states[2],
        -1: states[2],
        -3: states[0],
    }[layer]
    torch.testing.assert_close(head(batch).hidden, expected)


@pytest.mark.parametrize("layer", [3, -4, "first", True, 1.0])
def test_a_layer_is_refused_when_there_is_none(layer: Any) -> None:
    with pytest.raises(ValueError, match=r"layer must be 'last', 'mix' or an index in -3 … 2, got"):
        tagger(layer=layer)


def test_it_learns_to_label() -> None:
    head = tagger(learning_rate=0.02)
    fit(head, tagged(), max_epochs=30, accumulate_grad_batches=1)
    assert head.predict([e.source for e in tagged()]) == [e.target for e in tagged()]


def test_a_front_end_with_a_begin_position_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a label for every position, got begin=True"):
        TokenLabeling(frontend(begin=True), encoder())


LOUD = [[0.0] * 4 + [3.0] * 5, [3.0] * 3, [0.0] * 6]  # ten samples a second
SPANS: list[list[Any]] = [[(0.4, 0.9, "loud")], [(0.0, 0.3, "loud")], []]


def sounds() -> list[Example]:
    return [
        Example((samples, small_sound.RATE), spans, str(number))
        for number, (samples, spans) in enumerate(zip(LOUD, SPANS, strict=True))
    ]


def test_targets_are_segments_where_positions_have_times() -> None:
    head = small_sound.labeler(sounds())
    names = [head.labels[number] for number in head.collate(sounds()).targets.tolist()]
    assert names == ["none"] * 4 + ["loud"] * 8 + ["none"] * 6


def test_predictions_are_segments_of_each_sequence_where_positions_have_times() -> None:
    head = small_sound.labeler(sounds(), learning_rate=0.02, warmup_steps=0)
    fit(head, sounds(), max_epochs=60)
    found = head.predict([example.source for example in sounds()])
    assert found == [[[0.4, 0.9, "loud"]], [[0.0, 0.3, "loud"]], []]
    assert set(head.metrics["val_metrics"].keys()) == {"accuracy", "macro_f1"}
