from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from seqattn.metrics.overlap import (
    Bleu,
    Chrf,
    Rouge,
    longest_common_subsequence,
    tokenize_13a,
)

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "a", "mat,", "3.5", "dogs-"]), max_size=9)
TEXTS = WORDS.map(" ".join)
CORPORA = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)
NEAR = "the small cat sat on the old mat near a door"


def value(metric: Any, predictions: list[Any], references: list[Any]) -> float:
    metric.update(predictions, references)
    return float(metric.compute())


@given(st.text("ab1 .,-&<>'\"\n%;", max_size=15))
def test_tokens_are_those_of_sacrebleu(text: str) -> None:
    assert tokenize_13a(text) == Tokenizer13a()(text.rstrip()).split()


def test_tokens_by_hand() -> None:
    assert tokenize_13a("Hi, it's 3.5&nbsp;- &quot;1-2&quot;.") == [
        *("Hi", ",", "it's", "3.5", "&", "nbsp", ";", "-", '"', "1", "-", "2", '"', ".")
    ]
    assert tokenize_13a(["a.b", "c d"]) == ["a.b", "c d"]


@given(CORPORA)
def test_bleu_is_sacrebleus(corpus: list[tuple[str, str]]) -> None:
    predictions, references = map(list, zip(*corpus, strict=True))
    expected = BLEU().corpus_score(predictions, [references]).score
    assert value(Bleu(), predictions, references) == pytest.approx(expected, rel=1e-5)


@given(CORPORA)
def test_bleu_of_token_lists_is_sacrebleus_without_tokenising(
    corpus: list[tuple[str, str]],
) -> None:
    predictions, references = map(list, zip(*corpus, strict=True))
    expected = BLEU(tokenize="none").corpus_score(predictions, [references]).score
    tokens = [[text.split() for text in column] for column in (predictions, references)]
    assert value(Bleu(), *tokens) == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3))
def test_several_references_count_as_in_sacrebleu(corpus: list[tuple[str, str, str]]) -> None:
    predictions, one, other = map(list, zip(*corpus, strict=True))
    pairs = list(zip(one, other, strict=True))
    for metric, oracle in ((Bleu(), BLEU()), (Chrf(), CHRF())):
        expected = oracle.corpus_score(predictions, [one, other]).score
        assert value(metric, predictions, pairs) == pytest.approx(expected, rel=1e-5)


@given(CORPORA)
def test_chrf_is_sacrebleus(corpus: list[tuple[str, str]]) -> None:
    predictions, references = map(list, zip(*corpus, strict=True))
    expected = CHRF().corpus_score(predictions, [references]).score
    assert value(Chrf(), predictions, references) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("", ""),
        ("", NEAR),
        (NEAR, ""),
        (NEAR, NEAR),
        ("cat", "cat"),
        (NEAR[:20], NEAR),
        (NEAR.replace("old", "new"), NEAR),
        ("a cat sat near the old door", NEAR),  # no 4-gram in common: smoothed
    ],
)
def test_single_pairs_are_as_in_sacrebleu(prediction: str, reference: str) -> None:
    for metric, oracle in ((Bleu(), BLEU()), (Chrf(), CHRF())):
        expected = oracle.corpus_score([prediction], [[reference]]).score
        assert value(metric, [prediction], [reference]) == pytest.approx(expected, rel=1e-5)


def test_chrf_of_tokens_is_that_of_their_characters() -> None:
    assert value(Chrf(), [["ab", "c"]], [["abc"]]) == pytest.approx(100)


@pytest.mark.parametrize(
    ("kind", "prediction", "reference", "expected"),
    [
        ("1", "the the cat", "the cat sat down", 2 * 2 / 7),  # "the" once
        ("L", "sat the cat", "the cat sat down", 2 * 2 / 7),  # the cat
        ("L", "a b c", "c b a", 1 / 3),
        ("1", "a b c", "c b a", 1.0),
        ("1", "The cat!", "the: CAT", 1.0),
        ("1", ["The"], ["the"], 0.0),
        ("1", "", "", 1.0),
        ("L", "", "a", 0.0),
        ("L", "a", "...", 0.0),
        ("1", "a b", ("a c", "a b c"), 0.8),
    ],
)
def test_rouge_by_hand(kind: Any, prediction: Any, reference: Any, expected: float) -> None:
    assert value(Rouge(kind), [prediction], [reference]) == pytest.approx(expected)


def test_rouge_is_the_mean_over_examples() -> None:
    assert value(Rouge("1"), ["a", "a b"], ["a", "b c"]) == pytest.approx((1 + 0.5) / 2)


@given(st.text("abc", max_size=9), st.text("abc", max_size=9))
def test_longest_common_subsequence_is_by_its_definition(one: str, other: str) -> None:
    @cache
    def common(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if one[i - 1] == other[j - 1]:
            return common(i - 1, j - 1) + 1
        return max(common(i - 1, j), common(i, j - 1))

    assert longest_common_subsequence(one, other) == common(len(one), len(other))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        Rouge("2")  # type: ignore[arg-type]
