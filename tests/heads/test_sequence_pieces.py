"""The words of a sound from those of its pieces."""

from __future__ import annotations

from typing import Any

import pytest

from seqattn.heads.sequence_pieces import find_cut, join_outputs, join_words
from seqattn.vectorizer import Piece

PIECES = [Piece(None, 0.0, 6.0), Piece(None, 4.0, 10.0), Piece(None, 8.0, 13.0)]


def test_words_of_an_overlap_are_those_of_one_piece_to_each_side_of_a_cut() -> None:
    words = [
        [[1.0, 2.0, "a", 0.9], [4.0, 4.4, "b", 0.8], [5.2, 5.6, "c", 0.7], [5.9, 6.0, "x", 0.1]],
        [[0.0, 0.4, "b", 0.2], [1.2, 1.6, "c", 0.6], [3.0, 4.8, "d", 0.5]],
        [[0.0, 0.8, "y", 0.1], [2.0, 3.0, "e", 0.4]],
    ]
    # The widest gaps: from b at 4.2 to c at 5.4 seconds; from y at 8.4 to the end at 10.
    assert join_words(PIECES, words) == [
        [1.0, 2.0, "a", 0.9],
        [4.0, 4.4, "b", 0.8],
        [5.2, 5.6, "c", 0.6],
        [7.0, 8.8, "d", 0.5],
        [10.0, 11.0, "e", 0.4],
    ]


@pytest.mark.parametrize(
    ("own", "following", "cut"),
    [
        ([], [], 5.0),
        ([[4.0, 5.0, "a", 1.0]], [], 5.25),
        ([[5.2, 5.4, "a", 1.0]], [[5.2, 5.6, "a", 1.0]], 4.65),
        # Words without a pause, a little apart in the two: 5.02 is within each of them.
        (
            [[4.0, 5.06, "a", 1.0], [5.06, 6.0, "b", 1.0]],
            [[4.0, 4.98, "a", 1.0], [4.98, 6.0, "b", 1.0]],
            5.01,
        ),
    ],
)
def test_cut_is_the_farthest_from_all_words(own: Any, following: Any, cut: float) -> None:
    assert find_cut(own, following, 4.0, 6.0) == pytest.approx(cut)


@pytest.mark.parametrize(
    ("own", "following"),
    [
        ([[1.0, 6.0, "abc", 1.0]], [[4.0, 9.0, "cde", 1.0]]),  # one word all along
        ([[4.5, 5.5, "a", 1.0]], [[4.5, 5.5, "b", 1.0]]),
        ([[4.0, 6.0, "a", 1.0]], []),
    ],
)
def test_overlap_without_words_in_common_is_refused(own: Any, following: Any) -> None:
    rule = "must have the same words where they overlap, got none from 4 to 6 seconds: raise"
    with pytest.raises(ValueError, match=rule):
        find_cut([*own, [4.0, 5.9, "x", 1.0]], [*following, [4.1, 6.0, "y", 1.0]], 4.0, 6.0)


@pytest.mark.parametrize("silent", [[[], []], [[[1.0, 2.0, "a", 1.0]], []]])
def test_pieces_without_words_add_none(silent: Any) -> None:
    assert join_words(PIECES[:2], silent) == silent[0]


def test_output_is_a_text_or_tokens() -> None:
    said = [[[1.0, 2.0, "a", 1.0]], [[3.0, 4.0, "b", 1.0]]]
    found = [{"output": "", "words": words} for words in said]
    words = [[1.0, 2.0, "a", 1.0], [7.0, 8.0, "b", 1.0]]
    text, tokens = (join_outputs(PIECES[:2], found, gives_tokens=given) for given in (False, True))
    assert text == {"output": "a b", "words": words}
    assert tokens == {"output": ["a", "b"], "words": words}


@pytest.mark.parametrize("prediction", ["a b", ["a", "b"], [{"output": "a"}], {"output": "a"}])
def test_predictions_without_times_are_refused(prediction: Any) -> None:
    with pytest.raises(ValueError, match=r"predictions must be those of times=True, got .*a"):
        join_outputs(PIECES[:2], [prediction] * 2, gives_tokens=False)
