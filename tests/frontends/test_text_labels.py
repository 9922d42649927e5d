from __future__ import annotations

from typing import Any

import pytest

from seqattn import TextFrontEnd
from seqattn.frontends.text_labels import text_labels

TEXTS = ["the cat sat", ("a cat", "the mat"), ["New York", "is"]]


@pytest.mark.parametrize(
    ("options", "raw", "expected"),
    [
        ({}, "the zebra, sat", ["the", "zebra", ",", "sat"]),
        ({}, ["New York", "unseen"], ["New York", "unseen"]),
        ({}, ("a cat", "mat"), ["a", "cat", "<sep>", "mat"]),
        ({"begin": True}, ("a", "b"), ["<begin>", "a", "<sep>", "b"]),
        ({"begin": True, "max_tokens": 3}, "the cat sat", ["<begin>", "the", "cat"]),
        ({"max_tokens": 4}, ("the cat sat", "a"), ["the", "cat", "<sep>", "a"]),
        ({"units": "character"}, "a Q t", ["a", " ", "<unk>", " ", "t"]),
        ({"units": "character", "lowercase": True}, "AC", ["a", "c"]),
        ({"units": "subword"}, "", []),
    ],
)
def test_each_position_is_called_by_its_token(options: Any, raw: Any, expected: list[str]) -> None:
    vectorizer = TextFrontEnd(**options).vectorizer
    vectorizer.fit(TEXTS)
    assert text_labels(vectorizer, raw) == expected
    assert len(expected) == vectorizer.length(raw)


def test_subwords_read_together_are_the_text() -> None:
    vectorizer = TextFrontEnd(units="subword", vocabulary_size=300).vectorizer
    vectorizer.fit(TEXTS)
    labels = text_labels(vectorizer, "the cat sat")
    assert "".join(labels) == "the cat sat"
    assert len(labels) == vectorizer.length("the cat sat")
