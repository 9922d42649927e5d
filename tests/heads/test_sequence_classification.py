from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from seqattn import DataError, Example
from seqattn.vectorizer import Piece
from tests.heads.small_heads import build_on, classifier, fit, labelled, loader, trainer

NUMBERS = [
    Example("a", 10.0, "train:0"),
    Example("a b", 20.0, "train:1"),
    Example("b", 30.0, "train:2"),
]
SEVERAL = [
    Example("a", ["x", "y"], "train:0"),
    Example("b", [], "train:1"),
    Example("a b", ["x"], "train:2"),
]


@pytest.mark.parametrize("pooling", ["mean", "max", "first", "attention"])
def test_every_pooling_learns_and_takes_empty_texts(pooling: Any) -> None:
    head = classifier(pooling=pooling, learning_rate=0.02)
    fit(head, labelled(), max_epochs=25)
    texts = [example.source for example in labelled()]
    found = head.predict([*texts, "", []])
    assert [p["label"] for p in found[:4]] == [example.target for example in labelled()]
    assert found[4] == found[5]
    assert found[4]["label"] in head.labels


def test_a_prediction_is_a_label_and_the_probability_of_each() -> None:
    head = build_on(classifier(), labelled())
    for prediction in head.predict(["a cat", "red"]):
        assert prediction.keys() == {"label", "scores"}
        assert prediction["scores"].keys() == {"even", "odd"}
        assert sum(prediction["scores"].values()) == pytest.approx(1)
        assert prediction["label"] == max(prediction["scores"], key=prediction["scores"].get)


def test_several_labels_hold_where_their_probability_is_above_half() -> None:
    head = build_on(classifier(objective="multi_label"), SEVERAL)
    for prediction in head.predict(["a", "b", ""]):
        assert prediction.keys() == {"labels", "scores"}
        expected = [name for name, score in prediction["scores"].items() if score > 0.5]
        assert prediction["labels"] == expected


def test_loss_of_several_labels_is_the_mean_over_them() -> None:
    head = build_on(classifier(objective="multi_label", label_smoothing=0.2), SEVERAL)
    batch = head.collate(SEVERAL[2:])  # x holds, y does not
    output = head(batch)
    output.logits = torch.tensor([[math.log(3), 0.0]])
    x = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    y = math.log(2)
    assert float(head.loss(output, batch).values) == pytest.approx((x + y) / 2)


def test_an_unseen_label_among_several_is_wrong_with_one_warning() -> None:
    head = build_on(classifier(objective="multi_label"), SEVERAL)
    torch.nn.init.zeros_(head.output.weight)
    with torch.no_grad():
        head.output.bias.copy_(torch.tensor([1.0, -1.0]))  # x holds, y does not
    examples = [Example("a", ["x"]), Example("b", ["x", "new", "newer"])]
    with pytest.warns(UserWarning, match="2 val labels never occur in training"):
        found = trainer().validate(head, loader(head, examples), verbose=False)[0]
    assert found["val/exact_match"] == 0.5
    assert found["val/accuracy"] == pytest.approx(4 / 5)  # of 2 rows x 2 labels, and the new one
    assert found["val/macro_f1"] == 0.5  # 1 of x, 0 of the new one, and y is absent


def test_several_labels_are_learnt_and_measured() -> None:
    head = classifier(objective="multi_label", learning_rate=0.05)
    fit(head, SEVERAL, max_epochs=40)
    found = trainer().validate(head, loader(head, SEVERAL), verbose=False)[0]
    assert found["val/exact_match"] == 1.0
    assert head.monitor == ("val/macro_f1", "max")


def test_a_number_is_predicted_and_measured_in_its_own_unit() -> None:
    head = build_on(classifier(objective="regression"), NUMBERS)
    torch.nn.init.zeros_(head.output.weight)
    torch.nn.init.ones_(head.output.bias)
    deviation = math.sqrt(200 / 3)  # of 10, 20 and 30 about 20
    found = head.predict(["a", ""])
    assert [p["value"] for p in found] == pytest.approx([20 + deviation] * 2, rel=1e-6)
    errors = [abs(20 + deviation - number) for number in (10, 20, 30)]
    values = trainer().validate(head, loader(head, NUMBERS), verbose=False)[0]
    assert values["val/mae"] == pytest.approx(sum(errors) / 3, rel=1e-5)
    assert values["val/rmse"] == pytest.approx(math.sqrt(sum(e**2 for e in errors) / 3), rel=1e-5)
    assert values["val/loss"] == pytest.approx(sum(errors) / 3 / deviation, rel=1e-5)
    assert head.monitor == ("val/mae", "min")


def test_equal_numbers_are_learnt_too() -> None:
    head = fit(classifier(objective="regression"), [Example("a", 4.0), Example("b", 4.0)])
    assert head.target_vectorizer.deviation == 1.0
    assert math.isfinite(head.predict(["a"])[0]["value"])


def test_a_pair_is_told_from_its_parts() -> None:
    pairs = [Example(("a", "b"), "yes"), Example(("b", "a"), "no")]
    head = fit(classifier(learning_rate=0.02), pairs, max_epochs=30)
    assert [p["label"] for p in head.predict([("a", "b"), ("b", "a")])] == ["yes", "no"]


def test_a_pair_is_refused_when_training_had_none() -> None:
    head = build_on(classifier(), labelled())
    with pytest.raises(DataError, match="example '1': a pair needs training sources with pairs"):
        head.predict(["a", ("a", "b")])


@pytest.mark.parametrize(
    ("objective", "target", "rule"),
    [
        ("single_label", ["x"], r"the target must be one label, got \['x'\]: use multi_label"),
        ("single_label", None, "the target must be one label, got None"),
        ("multi_label", "x", "the target must be a list of labels, got 'x'"),
        ("regression", "much", "the target must be a number, got 'much'"),
        ("regression", float("nan"), "the target must be finite, got nan"),
    ],
)
def test_a_target_of_the_wrong_kind_names_its_example(
    objective: Any, target: Any, rule: str
) -> None:
    good = {"single_label": labelled(), "multi_label": SEVERAL, "regression": NUMBERS}[objective]
    head = build_on(classifier(objective=objective), good)
    with pytest.raises(DataError, match=f"'train:9'.*{rule}"):
        head.collate([*good, Example("a", target, "train:9")])


def test_evaluation_without_targets_is_refused() -> None:
    head = build_on(classifier(), labelled())
    with pytest.raises(ValueError, match="needs a target for every sequence, got none"):
        trainer().validate(head, loader(head, [Example("a")]), verbose=False)


def test_class_weights_are_refused_for_numbers() -> None:
    with pytest.raises(ValueError, match="class_weights need labels, got 'balanced'"):
        classifier(objective="regression", class_weights="balanced")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("objective", "objective must be one of 'single_label', 'multi_label', 'regression'"),
        ("pooling", "pooling must be one of 'mean', 'max', 'first', 'attention'"),
    ],
)
def test_an_unknown_choice_is_refused(name: str, rule: str) -> None:
    with pytest.raises(ValueError, match=f"{rule}, got 'median'"):
        classifier(**{name: "median"})


def test_an_unseen_label_is_wrong() -> None:
    head = fit(classifier(), labelled())
    odd = [Example("a", "neither", "val:0")]
    with pytest.warns(UserWarning, match="1 val labels never occur in training"):
        found = trainer().validate(head, loader(head, odd), verbose=False)[0]
    assert found["val/accuracy"] == 0.0


@pytest.mark.parametrize(
    ("objective", "targets", "found", "expected"),
    [
        (
            "single_label",
            ["a", "b"],
            [{"scores": {"a": 0.9, "b": 0.1}}, {"scores": {"a": 0.1, "b": 0.9}}],
            {"label": "b", "scores": {"a": 0.3, "b": 0.7}},  # 0.9 / 4 + 3 * 0.1 / 4
        ),
        (
            "multi_label",
            [["a"], ["b"]],
            [{"scores": {"a": 1.0, "b": 1.0}}, {"scores": {"a": 0.2, "b": 0.4}}],
            {"labels": ["b"], "scores": {"a": 0.4, "b": 0.55}},
        ),
        ("regression", [1.0, 2.0], [{"value": 8.0}, {"value": 4.0}], {"value": 5.0}),
    ],
)
def test_predictions_of_pieces_are_averaged_by_length(
    objective: Any, targets: Any, found: Any, expected: Any
) -> None:
    examples = [Example("x", target) for target in targets]
    head = build_on(classifier(objective=objective), examples)
    joined = head.join_pieces([Piece(None, 0.0, 1.0), Piece(None, 1.0, 4.0)], found)
    assert joined.keys() == expected.keys()
    for name, value in expected.items():
        assert joined[name] == (value if name.startswith("label") else pytest.approx(value))


@pytest.mark.parametrize(
    ("objective", "examples"),
    [("single_label", labelled()), ("multi_label", SEVERAL), ("regression", NUMBERS)],
)
def test_a_sequence_whose_positions_are_unlabelled_counts_in_no_loss_and_no_metric(
    objective: Any, examples: list[Example]
) -> None:
    head = build_on(classifier(objective=objective), examples)
    batch = head.collate(examples)
    skipped = batch.sequence_ids != 1
    others = head.collate([example for place, example in enumerate(examples) if place != 1])
    metrics = head.metrics["val_metrics"]
    expected_loss = head.step(others, "val").sums()
    expected = metrics.compute()
    metrics.reset()
    head.step(batch.replace(labelled=torch.zeros_like(skipped)), "val")  # nothing counts here
    loss = head.step(batch.replace(labelled=skipped), "val")
    assert loss.weight.tolist() == [float(place != 1) for place in range(len(examples))]
    torch.testing.assert_close(loss.sums(), expected_loss)
    torch.testing.assert_close(metrics.compute(), expected)
