"""A long sound that was read in pieces: one output from theirs, by the times of their words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from seqattn.vectorizer import Piece

Word = list[Any]
"""Start and end in seconds, the word, and how sure it is."""

_DIGITS = 6  # of seconds that are given


def join_outputs(
    pieces: Sequence[Piece], predictions: Sequence[Any], *, gives_tokens: bool
) -> dict[str, Any]:
    """Return ``{"output", "words"}`` of the whole; words of a text stand one space apart.

    Args:
        pieces: in the order of time.
        predictions: ``{"output", "words"}`` of each, in seconds of the piece.
        gives_tokens: whether the output is a list of tokens, not a text.

    Raises:
        ValueError: if a prediction has no words with times, or two pieces cannot be cut.
    """
    for one in predictions:
        if not isinstance(one, dict) or "words" not in one:
            raise ValueError(
                "pieces of a sound are joined by the times of their words: predictions must be "
                f"those of times=True, got {one!r:.60}"
            )
    words = join_words(pieces, [one["words"] for one in predictions])
    names = [word for _, _, word, _ in words]
    return {"output": names if gives_tokens else " ".join(names), "words": words}


def join_words(pieces: Sequence[Piece], words: Sequence[Sequence[Word]]) -> list[Word]:
    """Return the words of the whole, in seconds of it.

    Where two pieces overlap, words whose middle is before a cut are those of the one, words after
    it those of the other; see :func:`find_cut`.

    Raises:
        ValueError: if two pieces cannot be cut.
    """
    rows = [
        [_shift(word, piece.start) for word in own]
        for piece, own in zip(pieces, words, strict=True)
    ]
    sides = pairwise(zip(pieces, rows, strict=True))
    cuts = [
        find_cut(own, following, other.start, one.end) for (one, own), (other, following) in sides
    ]
    bounds = pairwise([-math.inf, *cuts, math.inf])
    return [
        word
        for own, (low, high) in zip(rows, bounds, strict=True)
        for word in own
        if low <= _middle(word) < high
    ]


def find_cut(own: Sequence[Word], following: Sequence[Word], low: float, high: float) -> float:
    """Return the moment of an overlap that is farthest from the ends and from any word's middle.

    So both pieces have the same words to each side of it, though their times differ a little.

    Args:
        own: words of the earlier piece, in seconds of the whole.
        following: words of the later one.
        low: where the overlap begins.
        high: where it ends.

    Raises:
        ValueError: if in every such moment there is a word that the other piece does not have, as
            where the text has no spaces.
    """
    middles = [_middle(word) for word in (*own, *following)]
    marks = sorted([low, *(moment for moment in middles if low < moment < high), high])
    for start, end in sorted(pairwise(marks), key=lambda gap: gap[0] - gap[1]):
        cut = (start + end) / 2
        if _agree(own, following, cut) and _agree(following, own, cut):
            return cut
    raise ValueError(
        "pieces of a sound must have the same words where they overlap, got none from "
        f"{low:g} to {high:g} seconds: raise the front-end's piece_seconds"
    )


def _agree(words: Sequence[Word], others: Sequence[Word], cut: float) -> bool:
    """Whether each word that is being said at the cut is among the others, to the same side."""
    return all(
        any(
            name == other[2]
            and start < other[1]
            and other[0] < end
            and (start + end < 2 * cut) == (_middle(other) < cut)
            for other in others
        )
        for start, end, name, *_ in words
        if start < cut < end
    )


def _middle(word: Word) -> float:
    start: float = word[0]
    end: float = word[1]
    return (start + end) / 2


def _shift(word: Word, seconds: float) -> Word:
    start, end, *rest = word
    return [round(start + seconds, _DIGITS), round(end + seconds, _DIGITS), *rest]
