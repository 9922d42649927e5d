from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqattn import DataError
from seqattn.generation.sampling import choose, greedy_search, sample
from tests.generation.tables import END, Table, log_probability, random_table


class CountUp:
    """Favours the next number; after 4 the end."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def step(self, symbols: Tensor) -> Tensor:
        self.sizes.append(len(symbols))
        following = torch.where(symbols >= 4, END, symbols + 1)
        return torch.nn.functional.one_hot(following, 6).float()

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        assert sentences is not None


def count_up(*begin: int, **settings: Any) -> list[list[int]]:
    arguments: dict[str, Any] = {"end": END, "max_length": 9, **settings}
    found = greedy_search(CountUp(), torch.tensor(begin, dtype=torch.int64), **arguments)
    return [hypothesis.symbols for [hypothesis] in found]


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_each_sentence_goes_on_to_its_end() -> None:
    assert count_up(1, 2, 4) == [[2, 3, 4], [3, 4], []]


def test_a_prefix_is_read_before_anything_is_written() -> None:
    assert count_up(1, 5, 4, prefixes=[[], [5, 2], [END, 1, 1]]) == [[2, 3, 4], [3, 4], [2, 3, 4]]


def test_nothing_is_written_beyond_max_length() -> None:
    limits = torch.tensor([2, 2, 9, 1])
    assert count_up(1, 9, 3, 1, max_length=limits, prefixes=[[], [9, 1], [], []]) == [
        [2, 3],
        [2, 3],
        [4],
        [2],
    ]


def test_min_length_counts_from_the_end_of_the_prefix() -> None:
    # The end forbidden, all others are as likely: the first of them is 1.
    assert count_up(4, 4, min_length=2, prefixes=[[], [4, 4]]) == [[1, 2, 3, 4], [1, 2, 3, 4]]


def test_banned_symbols_are_never_written() -> None:
    assert count_up(1, banned=[1, 2], max_length=3) == [[]]


def test_finished_sentences_leave_the_batch() -> None:
    stepper = CountUp()
    greedy_search(stepper, torch.tensor([1, 4, 3]), end=END, max_length=9)
    assert stepper.sizes == [3, 2, 1, 1]


@pytest.mark.parametrize("search", [greedy_search, sample])
def test_the_score_is_the_models_log_probability(search: Any) -> None:
    logits = random_table(1, 4, 5)
    found = search(Table(logits), torch.ones(4, dtype=torch.int64), end=END, max_length=5)
    assert {h.finished for [h] in found} == {True, False}
    for table, [h] in zip(logits, found, strict=True):
        expected = log_probability(table, 1, [*h.symbols, *[END] * h.finished])
        assert h.score == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_a_sentence_alone_gives_what_it_gives_in_a_batch(seed: int) -> None:
    logits = random_table(seed, 4, 6, spread=1.0)
    begin = torch.ones(4, dtype=torch.int64)
    settings: dict[str, Any] = {"end": END, "max_length": 7, "temperature": 1.3, "top_k": 4}
    together = sample(Table(logits), begin, generators=generators(1, 2, 3, 4), **settings)
    alone = [
        sample(Table(logits[i : i + 1]), begin[:1], generators=generators(i + 1), **settings)[0]
        for i in range(4)
    ]
    assert together == alone


def test_the_best_symbol_is_sampled_at_temperature_zero() -> None:
    logits, begin = random_table(2, 3, 6), torch.ones(3, dtype=torch.int64)
    found = sample(Table(logits), begin, end=END, max_length=5, temperature=0.0)
    assert found == greedy_search(Table(logits), begin, end=END, max_length=5)


def test_no_sentences_give_nothing() -> None:
    assert count_up() == []


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must not be negative, got -1.0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must lie in 0 … 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must lie in 0 … 1, got 1.1"),
        ({"generators": []}, r"generators must have one per sentence \(1\), got 0"),
        ({"prefixes": [[1], [2]]}, r"prefixes must have one per sentence \(1\), got 2"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], rule: str) -> None:
    arguments: dict[str, Any] = {"end": END, "max_length": 1, **settings}
    with pytest.raises(ValueError, match=rule):
        sample(CountUp(), torch.tensor([1]), **arguments)


def test_a_logit_that_is_no_number_names_step_and_sentence() -> None:
    broken = torch.zeros(2, 4, 4, 4)
    broken[0, ..., END] = 9.0  # leaves the batch at once
    broken[1, ..., END] = -9.0
    broken[1, 2, :, 3] = torch.nan
    rule = "example 'b': logits must be finite, got nan at step 1 of sentence 1"
    begin = torch.full((2,), 2)
    with pytest.raises(DataError, match=rule):
        greedy_search(
            Table(broken), begin, end=END, max_length=9, prefixes=[[], [2]], keys=["a", "b"]
        )


LOGITS = torch.tensor([0.5, 0.3, 0.2]).log()


def shares(count: int = 20_000, **settings: Any) -> list[float]:
    """How often each symbol is drawn."""
    torch.manual_seed(1)
    drawn = choose(LOGITS.expand(count, 3), **settings)
    return (drawn.bincount(minlength=3) / count).tolist()


def test_temperature_zero_takes_the_best() -> None:
    assert choose(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),  # squared, normalised
        ({"temperature": 1.0, "top_k": 2}, [0.625, 0.375, 0.0]),
        ({"temperature": 1.0, "top_k": 9}, [0.5, 0.3, 0.2]),
        ({"temperature": 1.0, "top_p": 0.6}, [0.625, 0.375, 0.0]),  # 0.5 does not reach 0.6
        ({"temperature": 1.0, "top_p": 0.4}, [1.0, 0.0, 0.0]),
        ({"temperature": 1.0, "top_p": 1.0}, [0.5, 0.3, 0.2]),
    ],
)
def test_sampling_follows_the_cut_distribution(
    settings: dict[str, Any], expected: list[float]
) -> None:
    assert shares(**settings) == pytest.approx(expected, abs=0.015)  # 4 standard deviations


def test_the_nucleus_is_kept_in_its_places_when_logits_are_not_sorted() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log().expand(500, 4)
    assert set(choose(logits, 1.0, top_p=0.8).tolist()) == {1, 3}


def test_a_rows_draw_depends_on_its_own_generator_only() -> None:
    flat = torch.zeros(3, 50)
    together = choose(flat, 1.0, generators=generators(1, 2, 3)).tolist()
    alone = [choose(flat[:1], 1.0, generators=generators(seed)).item() for seed in (1, 2, 3)]
    assert together == alone
