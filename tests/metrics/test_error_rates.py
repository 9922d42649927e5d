from __future__ import annotations

from functools import cache
from typing import Any

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn.metrics.error_rates import ErrorRate, edit_distance

TEXTS = st.text("ab c", max_size=9)
CORPORA = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)


def rate(unit: Any, predictions: list[Any], references: list[Any]) -> float:
    metric = ErrorRate(unit)
    metric.update(predictions, references)
    return float(metric.compute())


def slow_distance(one: str, other: str) -> int:
    """Levenshtein's recursion, as it is defined."""

    @cache
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = between(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(replaced, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(one), len(other))


@given(st.text("abcd", max_size=12), st.text("abcd", max_size=12))
def test_edit_distance_is_levenshteins(one: str, other: str) -> None:
    assert edit_distance(one, other) == slow_distance(one, other)


def test_edit_distance_holds_beyond_a_machine_word() -> None:
    one = "ab" * 80
    assert edit_distance(one, "b" + one[:-1]) == 2
    assert edit_distance(one, one[3:150]) == 13
    assert edit_distance(one, "c" * 170) == 170


@given(CORPORA)
def test_word_and_character_error_rates_are_jiwers(corpus: list[tuple[str, str]]) -> None:
    predictions, references = map(list, zip(*corpus, strict=True))
    words, characters = jiwer.wer(references, predictions), jiwer.cer(references, predictions)
    assert rate("word", predictions, references) == pytest.approx(words)
    assert rate("character", predictions, references) == pytest.approx(characters)


@pytest.mark.parametrize(
    ("prediction", "reference"), [("", ""), ("a b", ""), ("", "a b"), ("  ", "a"), ("a", " ")]
)
def test_empty_texts_are_as_in_jiwer(prediction: str, reference: str) -> None:
    for unit, oracle in (("word", jiwer.wer), ("character", jiwer.cer)):
        expected = oracle([reference], [prediction])
        assert rate(unit, [prediction], [reference]) == pytest.approx(expected)


def test_rate_is_of_the_corpus_and_no_mean_of_rates() -> None:
    assert rate("token", [["a"], ["b", "c", "d"]], [["x"], ["b", "c", "d"]]) == 0.25


def test_units_by_hand() -> None:
    assert rate("word", ["the cat"], ["a cat"]) == 0.5
    assert rate("word", [["the", "cat"]], [["a", "cat"]]) == 0.5
    assert rate("character", ["abd"], ["abc"]) == pytest.approx(1 / 3)
    assert rate("character", [["ab", "d"]], [["ab", "c"]]) == 0.25


def test_the_nearest_alternative_counts_and_the_longest_of_these() -> None:
    variants = (["T", "OW", "M"], ["T", "AH", "M", "OW"], ["T", "UH", "M", "OW", "Z"])
    assert rate("token", [["T", "OW", "M", "OW"]], [variants]) == 0.25  # not 1 / 3


def test_tokens_of_a_string_are_refused() -> None:
    with pytest.raises(TypeError, match="unit 'token' needs lists of tokens, got the string 'a'"):
        rate("token", ["a"], [["a"]])


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="unit must be one of"):
        ErrorRate("phoneme")  # type: ignore[arg-type]
