"""Raw target sequences to symbols, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqattn.heads.sequence_targets import UNSEEN_CHARACTER, TargetSequenceVectorizer
from seqattn.vectorizer import Vectorized

SOURCE = Vectorized(torch.empty(0, 1))


def fitted(units: Any, targets: Any, **arguments: Any) -> TargetSequenceVectorizer:
    vectorizer = TargetSequenceVectorizer(units, **arguments)
    vectorizer.fit(targets)
    return vectorizer


@pytest.mark.parametrize(
    ("units", "raw", "symbols", "back"),
    [
        ("word", "don't stop, now", ["don't", "stop", ",", "now"], "don't stop , now"),
        ("token", "I_JUMP  I_RUN\tAH0", ["I_JUMP", "I_RUN", "AH0"], "I_JUMP I_RUN AH0"),
        ("token", ["a b", "c"], ["a b", "c"], ["a b", "c"]),
        ("word", ["don't", ","], ["don't", ","], ["don't", ","]),
        ("character", "ab a", ["a", "b", " ", "a"], "ab a"),
    ],
)
def test_target_becomes_symbols_and_comes_back(
    units: Any, raw: Any, symbols: Any, back: Any
) -> None:
    vectorizer = fitted(units, [raw])
    ids = vectorizer(raw, SOURCE)
    assert ids.dtype == torch.int64
    assert vectorizer.names(ids.tolist()) == symbols
    assert vectorizer.decode(ids.tolist()) == back


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_subwords_keep_every_text(text: str) -> None:
    vectorizer = fitted("subword", ["the old cat", "the old mat"])
    assert vectorizer.decode(vectorizer.encode(text)) == text


def test_lowercase_targets_are_decoded_in_lower_case() -> None:
    vectorizer = fitted("character", ["Ab"], lowercase=True)
    assert vectorizer.decode(vectorizer.encode("BA")) == "ba"


def test_unseen_symbols_are_negative_and_read_as_the_replacement_character() -> None:
    vectorizer = fitted("word", ["a b b"], min_count=2)
    assert vectorizer.encode("b a") == [vectorizer.encode("b")[0], -1]
    assert vectorizer.decode(vectorizer.encode("b a")) == f"b {UNSEEN_CHARACTER}"


def test_boundaries_are_no_symbols_of_any_text() -> None:
    vectorizer = fitted("token", ["a <begin> <end>"])
    assert vectorizer.begin_id != vectorizer.end_id
    assert not {vectorizer.begin_id, vectorizer.end_id} & set(vectorizer.encode("a <begin> <end>"))
    assert set(vectorizer.banned) == set(range(5)) - {vectorizer.end_id}
    one = TargetSequenceVectorizer(one_boundary=True)
    assert one.begin_id == one.end_id
    assert one.end_id not in one.banned


def test_special_symbols_read_nothing() -> None:
    vectorizer = fitted("character", ["ab"])
    ids = [vectorizer.begin_id, *vectorizer.encode("ab"), vectorizer.end_id]
    assert vectorizer.decode(ids) == "ab"


def test_targets_of_a_batch_are_packed() -> None:
    vectorizer = fitted("character", ["ab"])
    batch = vectorizer.join([vectorizer(text, SOURCE) for text in ("ab", "", "b")])
    assert batch.packing.lengths == (2, 0, 1)
    empty = vectorizer.join([])
    assert len(empty) == 0
    assert empty.values.dtype == torch.int64


@pytest.mark.parametrize(
    ("units", "text", "words"),
    [
        ("character", " ab  c", [("ab", 1, 2), ("c", 5, 5)]),
        ("token", "ab c", [("ab", 0, 0), ("c", 1, 1)]),
        ("character", "", []),
    ],
)
def test_words_know_their_symbols(units: Any, text: str, words: Any) -> None:
    vectorizer = fitted(units, ["ab c"])
    assert vectorizer.words(vectorizer.encode(text)) == words


@pytest.mark.parametrize("units", ["word", "token", "character", "subword"])
def test_state_is_plain_and_restores_everything(units: Any) -> None:
    first = fitted(units, ["the cat", "the mat"])
    second = TargetSequenceVectorizer(units)
    assert not second.is_fitted
    second.load_state(json.loads(json.dumps(first.state())))
    assert second.is_fitted
    assert second.encode("the cat") == first.encode("the cat")
    assert second.state() == first.state()


def test_state_of_token_lists_decodes_to_lists() -> None:
    vectorizer = TargetSequenceVectorizer("token")
    vectorizer.load_state(fitted("token", [["a"], []]).state())
    assert vectorizer.decode(vectorizer.encode(["a"])) == ["a"]


@pytest.mark.parametrize(
    ("units", "targets", "error", "rule"),
    [
        ("word", [None], ValueError, "training examples must have targets, got none"),
        ("word", ["a", ["b"]], ValueError, "all strings or all .* got 1 strings and 1 lists"),
        ("word", [3], TypeError, "the target must be a string or a list of tokens .* got 3"),
        ("word", [["a", 3]], TypeError, r"the target must be a string .* got \['a', 3\]"),
        ("character", [["a"]], TypeError, "needs target_units 'token' or 'word', got 'character'"),
    ],
)
def test_wrong_training_targets_are_refused(
    units: Any, targets: Any, error: type[Exception], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        fitted(units, targets)


def test_state_of_other_units_is_refused() -> None:
    with pytest.raises(ValueError, match="state must be of units 'character', got 'word'"):
        TargetSequenceVectorizer("character").load_state(fitted("word", ["a"]).state())
