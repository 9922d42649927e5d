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


TIMED = Vectorized(torch.zeros(3), times=torch.tensor([0.5, 1.5, 2.5]))
SPOKEN = [[(0.0, 1.0, "a"), (2.0, 3.0, "b")], [], None]


def test_segments_become_one_label_per_position_that_has_a_time() -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit(SPOKEN)
    assert vectorizer.labels == ["a", "b", "none"]
    assert vectorizer.counts == [1000, 1000, 1001]
    assert vectorizer([(0.0, 1.0, "b"), (1.0, 9.0, "new")], TIMED).tolist() == [1, -1, -1]
    assert vectorizer([], TIMED).tolist() == [2, 2, 2]


def test_labels_per_position_do_for_positions_that_have_times() -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit([["b", "a"]])
    assert vectorizer(["b", "b", "a"], TIMED).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("raw", "source", "rule"),
    [
        ([(0.0, 1.0, "a")], SOURCE, "segments need a source whose positions have times"),
        (["a"], TIMED, "one label per position, got 1 labels for 3 positions"),
        ([(0.0, 1.0)], TIMED, "a segment must be start, end and label"),
        (
            [(0.0, 1.0, "a"), (5.0, 6.0, "a")],
            TIMED,
            "a segment must start within the sound's 3.000",
        ),
        ([], SOURCE, "one label per position, got 0 labels for 2 positions"),
    ],
)
def test_segments_are_refused_when_they_do_not_fit(raw: Any, source: Any, rule: str) -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit(SPOKEN)
    with pytest.raises(ValueError, match=rule):
        vectorizer(raw, source)


def test_segments_of_a_skipped_sound_lie_anywhere() -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit(SPOKEN)
    skipped = Vectorized(
        torch.zeros(1), labelled=torch.tensor([False]), times=torch.tensor([0.005])
    )
    assert vectorizer([(5.0, 6.0, "a")], skipped).tolist() == [0]


def test_segments_are_refused_where_training_has_wrong_ones() -> None:
    with pytest.raises(ValueError, match="segments must not overlap"):
        TokenLabelVectorizer().fit([[(0.0, 1.0, "a"), (0.5, 2.0, "b")]])


HALF = Vectorized(torch.zeros(3), labelled=torch.tensor([True, False, False]))


@pytest.mark.parametrize("raw", [["b", None, None], ["b", "x", "a"], ["b"], ["b", None]])
def test_unlabelled_positions_need_no_label(raw: list[str | None]) -> None:
    vectorizer = TokenLabelVectorizer(unseen="error")
    vectorizer.fit([["a", None, "b"], [None]])
    assert vectorizer.state() == {"labels": ["a", "b"], "counts": [1, 1]}
    assert vectorizer(raw, HALF).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("raw", "source", "rule"),
    [
        ([None, "a", "a"], HALF, "a labelled position must have a label, got None at 0"),
        (["a", None], SOURCE, "a labelled position must have a label, got None at 1"),
        ([], HALF, "one label per position, got 0 labels for 3 positions"),
        (["a"] * 4, HALF, "one label per position, got 4 labels for 3 positions"),
    ],
)
def test_labelled_positions_need_a_label(raw: Any, source: Any, rule: str) -> None:
    vectorizer = TokenLabelVectorizer()
    vectorizer.fit([["a", "b"]])
    with pytest.raises(ValueError, match=rule):
        vectorizer(raw, source)
