from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from seqattn.heads.segments import (
    count_milliseconds,
    is_segmented,
    join_frames,
    join_segments,
    label_frames,
    read_segments,
    require_inside,
)
from seqattn.vectorizer import Piece

HALF_SECONDS = torch.tensor([0.25, 0.75, 1.25, 1.75])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ([(0.0, 1.0, "a")], True),
        ([[0.0, 1.0, "a"]], True),
        (["a", "b"], False),
        ([], False),
        ("ab", False),
        (None, False),
    ],
)
def test_segments_are_told_from_labels(target: Any, expected: bool) -> None:
    assert is_segmented(target) is expected


def test_segments_are_sorted_by_time() -> None:
    read = read_segments([[1, 2.5, "b"], ("0", 1, "a")])
    assert read == [(0.0, 1.0, "a"), (1.0, 2.5, "b")]


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ([(0, 1, "a"), (0.5, 2, "b")], "must not overlap, got 'b' from 0.5 seconds where 'a' ends"),
        ([(0, 1)], "a segment must be start, end and label, got (0, 1)"),
        (["a", (0, 1, "b")], "a segment must be start, end and label, got 'a'"),
        ([("x", 1, "a")], "a segment must start and end at a number, got ('x', 1, 'a')"),
        ([(None, 1, "a")], "a segment must start and end at a number, got (None, 1, 'a')"),
        ([(1, 1, "a")], "at 0 seconds or later and end after that, got (1, 1, 'a')"),
        ([(-1, 1, "a")], "at 0 seconds or later and end after that, got (-1, 1, 'a')"),
        ([(0, float("nan"), "a")], "at 0 seconds or later and end after that, got (0, nan, 'a')"),
        ([(0, float("inf"), "a")], "at 0 seconds or later and end after that, got (0, inf, 'a')"),
    ],
)
def test_segments_are_refused_when_wrong(target: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_segments(target)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], ["none"] * 4),
        ([(0.0, 2.0, "a")], ["a"] * 4),
        ([(0.0, 0.5, "a"), (0.5, 1.0, "b")], ["a", "b", "none", "none"]),
        ([(0.75, 1.25, "a")], ["none", "a", "none", "none"]),  # the start is in it, the end not
        ([(0.3, 0.7, "a")], ["none"] * 4),  # between two centres
        ([(1.5, 9.0, "a")], ["none", "none", "none", "a"]),  # longer than the source
    ],
)
def test_a_frame_has_the_label_at_its_centre(segments: Any, expected: list[str]) -> None:
    assert label_frames(segments, HALF_SECONDS) == expected


@pytest.mark.parametrize("start", [2.001, 5.0])
def test_a_segment_is_refused_when_it_begins_after_the_sound(start: float) -> None:
    rule = f"start within the sound's 2.000 seconds, got 'b' from {start} seconds"
    with pytest.raises(ValueError, match=re.escape(rule)):
        require_inside([(0.0, 1.0, "a"), (start, 6.0, "b")], HALF_SECONDS)
    with pytest.raises(ValueError, match=r"the sound's 0\.000 seconds"):
        require_inside([(start, 6.0, "b")], torch.empty(0))


def test_a_segment_may_end_after_the_sound_and_begin_in_its_last_frame() -> None:
    require_inside([], HALF_SECONDS)
    require_inside([], torch.empty(0))
    require_inside([(1.9, 9.0, "a")], HALF_SECONDS)


def test_frames_of_an_empty_source_have_no_label() -> None:
    assert label_frames([(0.0, 1.0, "a")], torch.empty(0)) == []


def test_labels_count_in_milliseconds_and_the_gaps_with_them() -> None:
    counted = count_milliseconds([(0.5, 1.0, "a"), (1.0, 1.0001, "b"), (2.0001, 2.2501, "a")])
    assert counted == {"a": 750, "b": 1, "none": 1 + 500 + 1000}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], []),
        (["none", "none"], []),
        (["a", "a", "b"], [[0.0, 0.2, "a"], [0.2, 0.3, "b"]]),
        (["none", "a", "none", "a"], [[0.1, 0.2, "a"], [0.3, 0.4, "a"]]),
    ],
)
def test_runs_of_a_label_are_segments(labels: list[str], expected: Any) -> None:
    assert join_frames(labels, 0.1) == expected


def test_frames_become_segments_and_the_segments_those_frames() -> None:
    labels = ["a", "none", "b", "b", "c", "none", "none", "a"]
    segments = read_segments(join_frames(labels, 0.032))
    assert label_frames(segments, (torch.arange(8) + 0.5) * 0.032) == labels


def pieces(*bounds: tuple[float, float]) -> list[Piece]:
    return [Piece(None, start, end) for start, end in bounds]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([[1.0, 10.0, "a"]], [[0.0, 3.0, "a"]], [[1.0, 11.0, "a"]]),  # merged at 9
        ([[1.0, 10.0, "a"]], [[0.0, 3.0, "b"]], [[1.0, 9.0, "a"], [9.0, 11.0, "b"]]),
        ([[8.0, 9.0, "a"]], [[1.0, 2.0, "a"]], [[8.0, 10.0, "a"]]),  # they meet at 9
        ([[9.5, 10.0, "a"]], [[0.0, 0.5, "b"]], []),  # each on the other's side
        ([[8.0, 8.9, "a"]], [[1.5, 2.0, "a"]], [[8.0, 8.9, "a"], [9.5, 10.0, "a"]]),
        ([], [[9.0, 10.0, "a"]], [[17.0, 18.0, "a"]]),
    ],
)
def test_pieces_meet_in_the_middle_of_the_overlap(first: Any, second: Any, expected: Any) -> None:
    assert join_segments(pieces((0, 10), (8, 18)), [first, second]) == expected


def test_a_segment_goes_through_many_pieces() -> None:
    parts = pieces((0, 10), (8, 18), (16, 20))
    found = join_segments(parts, [[[2.0, 10.0, "a"]], [[0.0, 10.0, "a"]], [[0.0, 1.5, "a"]]])
    assert found == [[2.0, 17.5, "a"]]
