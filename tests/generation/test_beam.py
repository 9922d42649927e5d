from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqattn import DataError
from seqattn.generation.beam import beam_search
from seqattn.generation.sampling import greedy_search
from seqattn.generation.stepper import Hypothesis
from tests.generation.tables import END, Table, exhaustive, log_probability, random_table

BEGIN = 1
LETTERS = [2, 3, 4]
BANNED = [BEGIN, *range(5, 30)]
"""So that a beam of 27 = 3 ** 3, enough for everything of 4 steps, fits the vocabulary of 30."""


def begin(sentences: int, symbol: int = BEGIN) -> Tensor:
    return torch.full((sentences,), symbol)


def search(logits: Tensor, **settings: Any) -> list[list[Hypothesis]]:
    defaults: dict[str, Any] = {"end": END, "max_length": 4, "width": 3}
    return beam_search(Table(logits), begin(len(logits)), **{**defaults, **settings})


@given(st.integers(0, 10_000), st.sampled_from([0.0, -1.0]))
def test_a_wide_enough_beam_is_an_exhaustive_search(seed: int, penalty: float) -> None:
    logits = random_table(seed, 2, 30)
    found = search(logits, width=27, banned=BANNED, n_best=5, length_penalty=penalty)
    for table, hypotheses in zip(logits, found, strict=True):
        expected = exhaustive(table, BEGIN, LETTERS, 4, penalty)[:5]
        assert [h.symbols for h in hypotheses] == [text for _, text in expected]
        assert [h.score for h in hypotheses] == pytest.approx([score for score, _ in expected])
        assert all(h.finished for h in hypotheses)


@given(st.integers(0, 10_000))
def test_the_best_does_not_depend_on_the_number_asked_for(seed: int) -> None:
    logits = random_table(seed, 3, 6)
    for penalty in (0.0, 1.0, -0.5):
        one = search(logits, width=4, length_penalty=penalty, max_length=7)
        four = search(logits, width=4, length_penalty=penalty, max_length=7, n_best=4)
        assert [best[:1] for best in four] == one


@given(st.integers(0, 10_000), st.integers(0, 2), st.sampled_from([0.0, 1.0]))
def test_a_beam_of_one_is_greedy(seed: int, min_length: int, penalty: float) -> None:
    logits = random_table(seed, 4, 5)
    settings: dict[str, Any] = {"end": END, "max_length": 6, "min_length": min_length}
    beam = beam_search(Table(logits), begin(4), width=1, length_penalty=penalty, **settings)
    greedy = greedy_search(Table(logits), begin(4), **settings)
    for [one], [other] in zip(beam, greedy, strict=True):
        assert (one.symbols, one.finished) == (other.symbols, other.finished)
        length = len(one.symbols) + one.finished
        assert one.score == pytest.approx(other.score / length**penalty)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.8]))
def test_a_sentence_alone_gives_what_it_gives_in_a_batch(seed: int, penalty: float) -> None:
    logits = random_table(seed, 5, 6)
    limits = torch.tensor([1, 6, 3, 9, 4])
    settings: dict[str, Any] = {"length_penalty": penalty, "n_best": 3}
    together = search(logits, max_length=limits, **settings)
    alone = [
        search(logits[i : i + 1], max_length=limits[i : i + 1], **settings)[0] for i in range(5)
    ]
    assert together == alone


@given(st.integers(0, 10_000))
def test_hypotheses_are_sorted_distinct_and_score_what_the_model_says(seed: int) -> None:
    logits = random_table(seed, 2, 6)
    for table, best in zip(logits, search(logits, width=5, n_best=5), strict=True):
        texts = [(tuple(h.symbols), h.finished) for h in best]
        assert len(set(texts)) == len(texts) == 5
        assert best == sorted(best, key=lambda h: (not h.finished, -h.score))
        for h in best:
            expected = log_probability(table, BEGIN, [*h.symbols, *[END] * h.finished])
            assert h.score == pytest.approx(expected)


def test_the_mean_score_grows_with_the_beam() -> None:
    logits = random_table(0, 200, 8, spread=1.0)
    means = []
    for width in (1, 2, 4, 8):
        found = search(logits, width=width, max_length=12)
        means.append(sum(best[0].score for best in found if best[0].finished) / 200)
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.1


def chain(*rows: list[float]) -> Tensor:
    """Logits of one sentence by its last symbol alone, from probabilities."""
    table = torch.tensor(rows, dtype=torch.float64).log()
    return table.expand(1, len(rows), *table.shape)


LATE = chain([1.0, 0, 0], [0.4, 0.0, 0.6], [0.5, 0.0, 0.5])
"""After BEGIN (1) the end has 0.4, the letter 2 has 0.6; from there on each 0.5."""


@pytest.mark.parametrize(
    ("penalty", "expected", "probability", "length"),
    [(0.0, [], 0.4, 1), (0.5, [2], 0.3, 2), (-1.0, [], 0.4, 1)],
)
def test_length_penalty_by_hand(
    penalty: float, expected: list[int], probability: float, length: int
) -> None:
    # ln 0.4 = -0.92; ln 0.3 / sqrt 2 = -0.85 is better, and ln 0.15 / sqrt 3 = -1.10 is not.
    found = search(LATE, width=2, max_length=3, length_penalty=penalty)[0][0]
    assert found.symbols == expected
    logarithm = torch.tensor(probability, dtype=torch.float64).log()
    assert found.score == pytest.approx(float(logarithm) / length**penalty)


def test_min_length_forbids_an_earlier_end() -> None:
    assert search(LATE, min_length=2, width=2)[0][0].symbols == [2, 2]


def test_a_sentence_that_reaches_max_length_is_not_finished() -> None:
    found = search(LATE, min_length=3, max_length=3, width=2, n_best=2)[0]
    assert [(h.symbols, h.finished) for h in found] == [([2, 2, 2], False)]
    assert found[0].score == pytest.approx(float(torch.tensor(0.6 * 0.5 * 0.5).log()))


def test_unfinished_hypotheses_come_after_finished_ones() -> None:
    found = search(LATE, width=2, max_length=1, n_best=2)[0]
    assert [(h.symbols, h.finished) for h in found] == [([], True), ([2], False)]


def test_begin_and_end_may_be_one_symbol() -> None:
    logits = random_table(3, 4, 5)
    found = beam_search(Table(logits), begin(4, END), end=END, width=3, max_length=5)
    for table, best in zip(logits, found, strict=True):
        assert END not in best[0].symbols
        expected = log_probability(table, END, [*best[0].symbols, *[END] * best[0].finished])
        assert best[0].score == pytest.approx(expected)


def test_banned_symbols_are_never_written_and_scores_stay_the_models() -> None:
    logits = random_table(5, 3, 6)
    for table, best in zip(logits, search(logits, banned=[2, 4], n_best=3), strict=True):
        for h in best:
            assert not {2, 4} & set(h.symbols)
            expected = log_probability(table, BEGIN, [*h.symbols, *[END] * h.finished])
            assert h.score == pytest.approx(expected)


def test_finished_sentences_leave_the_batch() -> None:
    ends_at_once = chain(*[[0.98, 0.01, 0.01]] * 3)
    goes_on = chain(*[[0.01, 0.01, 0.98]] * 3)
    table = Table(torch.cat([ends_at_once, goes_on, ends_at_once]))
    beam_search(table, begin(3), end=END, width=2, max_length=4)
    assert table.sizes == [(3, 3), (2, 1), (2, 1), (2, 1)]


def test_a_beam_as_wide_as_the_vocabulary_works_from_the_first_step() -> None:
    found = search(random_table(1, 2, 3), width=3, n_best=3, max_length=1)
    assert [len(best) for best in found] == [3, 3]
    assert all(sum(h.finished for h in best) == 1 for best in found)


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = random_table(2, 2, 5)
    half = search(logits.bfloat16(), max_length=9)
    full = search(logits.bfloat16().float(), max_length=9)
    assert half == full


def test_no_sentences_give_no_hypotheses() -> None:
    assert beam_search(Table(random_table(0, 0, 4)), begin(0), end=0, width=2, max_length=3) == []


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"width": 7}, "width must be at most the vocabulary's size, 6, got 7"),
        ({"n_best": 4}, "n_best must lie in 1 … width = 3, got 4"),
        ({"n_best": 0}, "n_best must lie in 1 … width = 3, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"max_length": torch.tensor([3, -1])}, "max_length must be at least 1, got -1"),
        ({"max_length": torch.tensor([3])}, r"one number per sentence \(2\), got \[3\]"),
        ({"min_length": 5}, "min_length must lie in 0 … max_length = 4, got 5"),
        ({"min_length": -1}, "min_length must lie in 0 … max_length = 4, got -1"),
        ({"banned": [3, END]}, r"banned must not hold the end symbol 0, got \[3, 0\]"),
        ({"keys": ["a"]}, r"keys must have one per sentence \(2\), got 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        search(random_table(0, 2, 6), **settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_names_step_and_sentence(value: float) -> None:
    broken = torch.zeros(3, 5, 5, 5)
    broken[..., END] = -9.0
    broken[2, BEGIN, :, 3] = value  # once BEGIN is the symbol before the last
    rule = rf"example 'c': logits must be finite, got {value} at step 1 of sentence 2"
    with pytest.raises(DataError, match=rule):
        search(broken, keys=["a", "b", "c"])
    with pytest.raises(ValueError, match=f"^logits must be finite, got {value} at step 1"):
        search(broken)


def test_an_impossible_symbol_is_no_error() -> None:
    logits = random_table(4, 2, 6)
    logits[..., 3] = -torch.inf
    written = itertools.chain(*(h.symbols for best in search(logits, n_best=3) for h in best))
    assert 3 not in set(written)
