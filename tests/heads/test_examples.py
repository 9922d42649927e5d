from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqattn import (
    AudioFrontEnd,
    DataError,
    Example,
    FeatureFrontEnd,
    GraphFrontEnd,
    PatchFrontEnd,
    Seq2Seq,
    SequenceClassification,
    TextFrontEnd,
    TokenLabeling,
)
from seqattn.heads.examples import naming_examples
from tests.frontends.small_graphs import plain
from tests.heads.small_heads import encoder, fit, loader, tagger, trainer

KEYS = ["first", "second", "third"]


def read(items: Iterable[Any]) -> None:
    for item in items:
        if item == "bad":
            raise ValueError("an item must be good, got 'bad'")
        if item == "wrong":
            raise TypeError("an item must be right")
        if item == "stop":
            raise RuntimeError("it is stopped")
        if item == "file":
            raise DataError("it must be whole", path="a.wav")
        if item == "unnamed":
            raise DataError("an item must be whole")


def fit_all(items: list[str], then: Exception) -> None:
    with naming_examples(items) as given:
        read(given)
        raise then


def test_items_are_given_as_often_as_they_are_asked_for() -> None:
    with naming_examples(["a", "b"], KEYS) as given:
        assert list(given) == list(given) == ["a", "b"]
        assert len(given) == 2


@pytest.mark.parametrize(
    ("item", "rule"),
    [
        ("bad", "example 'second': an item must be good, got 'bad'"),
        ("wrong", "example 'second': an item must be right"),
        ("unnamed", "example 'second': an item must be whole"),
        ("file", "^a.wav: it must be whole"),
    ],
)
def test_example_is_named_when_a_fit_stops_at_it(item: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule), naming_examples(["a", item, "b"], KEYS) as given:
        read(given)


def test_place_is_named_when_there_are_no_keys() -> None:
    rule = "example '2': an item must be good"
    with pytest.raises(DataError, match=rule), naming_examples(["a", "b", "bad"]) as given:
        read(given)


@pytest.mark.parametrize("items", [[], ["a", "b"]])
def test_no_example_is_named_when_all_were_read(items: list[str]) -> None:
    with pytest.raises(ValueError, match="^there must be more$"):
        fit_all(items, ValueError("there must be more"))


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="^it is stopped$"):
        fit_all(["stop"], ValueError("there must be more"))


# --- front-ends and heads -----------------------------------------------------------------------

FRONTENDS = {
    "text": (TextFrontEnd(), "a cat", 3, "a text source must be"),
    "graph": (GraphFrontEnd(), plain(3), plain(2, edge_weight=np.ones(1)), "edge_weight must have"),
    "graph with more": (
        GraphFrontEnd(),
        plain(3),
        plain(3, features=np.ones((3, 2))),
        "features must be left out, as in the training graphs, got 2 columns",
    ),
    "features": (
        FeatureFrontEnd(),
        np.ones((3, 2), dtype=np.float32),
        np.ones((3, 1), dtype=np.float32),
        "an array must have F = 2 columns, got 1",
    ),
    "patches": (
        PatchFrontEnd([2, 2]),
        np.ones((4, 4), dtype=np.float32),
        np.full((4, 4), np.nan, dtype=np.float32),
        "values must be finite in float32, got nan",
    ),
    "audio": (
        AudioFrontEnd(rate=8000),
        (np.ones(800, dtype=np.float32), 8000),
        (np.ones((2, 2, 2), dtype=np.float32), 8000),
        "a waveform given as ndarray must have shape",
    ),
}


@pytest.mark.parametrize("name", FRONTENDS)
def test_source_is_named_by_its_key_whatever_the_modality(name: str) -> None:
    frontend, good, bad, rule = FRONTENDS[name]
    head = SequenceClassification(frontend, encoder())
    examples = [Example(good, "a", "one"), Example(bad, "b", "two"), Example(good, "a", "three")]
    with pytest.raises(DataError, match=f"example 'two': {rule}"):
        fit(head, examples)


@pytest.mark.parametrize(
    ("make", "bad", "rule"),
    [
        (TokenLabeling, {"0": "a"}, "the target must be a list of labels, got {'0': 'a'}"),
        (SequenceClassification, ["a"], r"the target must be one label, got \['a'\]"),
    ],
)
def test_target_is_named_by_its_key_when_it_is_of_another_kind(
    make: Any, bad: Any, rule: str
) -> None:
    good = ["a", "b"] if make is TokenLabeling else "a"
    examples = [Example(["a", "b"], good, "one"), Example(["a", "b"], bad, "two")]
    with pytest.raises(DataError, match=f"example 'two': {rule}"):
        fit(make(TextFrontEnd(), encoder()), examples)


def test_target_sequence_is_named_by_its_key() -> None:
    head = Seq2Seq(TextFrontEnd(), encoder(), None)
    with pytest.raises(DataError, match="example 'two': .*got 3"):
        fit(head, [Example("a", "b", "one"), Example("a", 3, "two"), Example("a", "b", "three")])


def test_example_without_a_key_is_named_by_its_place() -> None:
    with pytest.raises(DataError, match="example '1': a text source must be"):
        fit(tagger(), [Example(["a"], ["X"]), Example(3, ["X"])])
    with pytest.raises(DataError, match="example '1': a text source must be"):
        tagger().fit_vectorizers([["a"], 3], [["X"], ["X"]])


def test_source_is_named_by_its_key_when_a_state_is_adopted(tmp_path: Path) -> None:
    rows = np.ones((2, 3), dtype=np.float32)
    examples = [Example(rows, "a", "one"), Example(rows, "b", "two")]
    path = str(tmp_path / "features.ckpt")
    runner, first = trainer(), SequenceClassification(FeatureFrontEnd(), encoder())
    runner.fit(first, loader(first, examples))
    runner.save_checkpoint(path)
    head = SequenceClassification(FeatureFrontEnd(), encoder(), init_from=path)
    with pytest.raises(DataError, match="example 'odd': an array must have F = 3 columns, got 2"):
        fit(head, [*examples, Example(rows[:, :2], "a", "odd")])
