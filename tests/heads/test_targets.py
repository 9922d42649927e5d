from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from seqattn.heads.targets import (
    MultiLabelVectorizer,
    NumberVectorizer,
    SequenceLabelVectorizer,
    TokenLabelVectorizer,
)
from seqattn.vectorizer import Vectorized

SOURCE = Vectorized(torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "targets", "raw", "expected"),
    [
        (TokenLabelVectorizer, [["b", "a"], None, ["b"]], ["a", "b"], [0, 1]),
        (SequenceLabelVectorizer, ["b", "a", None], "b", 1),
        (SequenceLabelVectorizer, [10, 2], 2, 1),  # names, sorted as such
        (MultiLabelVectorizer, [["b"], [], ["a", "c"]], ["c", "a"], [1, 0, 1, 0]),
        (MultiLabelVectorizer, [["b"], ["a"]], ["x", "a", "y", "x"], [1, 0, -2]),
        (NumberVectorizer, [1, "3", None], 3.0, 1.0),
    ],
)
def test_a_target_becomes_numbers_and_its_state_is_json(
    make: Any, targets: Any, raw: Any, expected: Any
) -> None:
    vectorizer, copy = make(), make()
    assert not vectorizer.is_fitted
    vectorizer.fit(targets)
    copy.load_state(json.loads(json.dumps(vectorizer.state())))
    for fitted in (vectorizer, copy):
        assert fitted.is_fitted
        assert fitted(raw, SOURCE).tolist() == expected


def test_labels_are_counted() -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit([["b", "a"], ["b"]])
    assert vectorizer.state() == {"labels": ["a", "b"], "counts": [1, 2]}


def test_numbers_come_back_in_their_unit() -> None:
    vectorizer = NumberVectorizer()
    vectorizer.fit([10.0, 20.0, 60.0])
    rows = [vectorizer(number, SOURCE) for number in (10.0, 60.0)]
    restored = vectorizer.restore(vectorizer.join(rows))
    torch.testing.assert_close(restored, torch.tensor([10.0, 60.0]))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (TokenLabelVectorizer, (0,)),
        (SequenceLabelVectorizer, (0,)),
        (MultiLabelVectorizer, (0, 1)),
        (NumberVectorizer, (0,)),
    ],
)
def test_an_empty_batch_has_no_targets(make: Any, shape: tuple[int, ...]) -> None:
    assert tuple(make().join([]).shape) == shape


@pytest.mark.parametrize("make", [TokenLabelVectorizer, SequenceLabelVectorizer, NumberVectorizer])
def test_fitting_without_targets_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="training examples must have targets, got none"):
        make().fit([None, None])
