from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ngram import NgramModel, discounts_of, join_modules, main
from seqattn import Example

TEXT = st.text(alphabet="abcd", min_size=1, max_size=40)
OUTSIDE = "z"
"""A character of no training text: it stands for the sign of all others."""


class SlowModel:
    """The same model from the paper's words, with dictionaries and recursion."""

    def __init__(self, texts: list[str], order: int) -> None:
        self.order, self.size = order, len(set("".join(texts))) + 1
        self.seen = [self._count(texts, n) for n in range(order + 1)]
        self.before = [self._count_kinds_before(n) for n in range(order)]

    def _count(self, texts: list[str], n: int) -> Counter[str]:
        return Counter(text[i : i + n] for text in texts for i in range(len(text) - n + 1))

    def _count_kinds_before(self, n: int) -> Counter[str]:
        kinds = defaultdict(set)
        for gram in self.seen[n + 1]:
            kinds[gram[1:]].add(gram[0])
        return Counter({gram: len(first) for gram, first in kinds.items()})

    def probability(self, history: str, letter: str) -> float:
        history = history[max(0, len(history) - self.order + 1) :]
        return self._interpolate(history, letter, self.seen[len(history) + 1])

    def _interpolate(self, history: str, letter: str, counts: Counter[str]) -> float:
        lower = 1 / self.size
        if history:
            lower = self._interpolate(history[1:], letter, self.before[len(history)])
        after = {gram: count for gram, count in counts.items() if gram[:-1] == history}
        if not after:
            return lower
        discounts = discounts_of(np.array(list(counts.values())))
        freed = sum(discounts[min(count, 3)] for count in after.values())
        count = after.get(history + letter, 0)
        return float((count - discounts[min(count, 3)] + freed * lower) / sum(after.values()))


@given(
    texts=st.lists(TEXT, min_size=1, max_size=4),
    history=st.text(alphabet="abcdz", max_size=6),
    order=st.integers(1, 5),
)
def test_probabilities_sum_to_one_after_any_history(
    texts: list[str], history: str, order: int
) -> None:
    model = NgramModel(texts, order)
    continued = [history + letter for letter in [*model.alphabet, OUTSIDE]]
    last = model.probabilities(continued).reshape(len(continued), -1)[:, -1]

    assert last.min() > 0
    assert last.sum() == pytest.approx(1, abs=1e-12)


@given(texts=st.lists(TEXT, min_size=1, max_size=4), text=TEXT, order=st.integers(1, 5))
def test_probabilities_equal_the_slow_reference(texts: list[str], text: str, order: int) -> None:
    slow = SlowModel(texts, order)
    expected = [
        slow.probability(text[:i], letter if letter in "".join(texts) else OUTSIDE)
        for i, letter in enumerate(text)
    ]

    found = NgramModel(texts, order).probabilities([text])

    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_probabilities_equal_a_hand_calculation_for_order_one() -> None:
    # Counts 2 and 1, discounts 1 and 0.5 (no count of 3, so the fixed ones), 3 signs:
    # a (2 - 1 + 1.5 / 3) / 3, b (1 - 0.5 + 1.5 / 3) / 3, any other (1.5 / 3) / 3.
    found = NgramModel(["aab"], order=1).probabilities(["abz"])

    np.testing.assert_allclose(found, [1 / 2, 1 / 3, 1 / 6])


def test_discounts_equal_a_hand_calculation() -> None:
    # n1 = 4, n2 = 2, n3 = 1, n4 = 1; Y = 4 / (4 + 2 * 2) = 0.5; D1 = 1 - 2 Y n2 / n1,
    # D2 = 2 - 3 Y n3 / n2, D3 = 3 - 4 Y n4 / n3.
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])

    np.testing.assert_allclose(discounts_of(counts), [0, 0.5, 1.25, 1.0])


@pytest.mark.parametrize("counts", [[], [1, 1], [1, 2, 3, 4, 4, 4, 4, 4]])
def test_discounts_are_fixed_when_there_is_no_sound_estimate(counts: list[int]) -> None:
    found = discounts_of(np.array(counts, dtype=np.int64))

    assert found.tolist() == [0.0, 0.5, 1.0, 1.5]


def test_a_text_does_not_see_the_one_before_it() -> None:
    model = NgramModel(["abcabcab"], order=3)
    both = model.probabilities(["abca", "bca"])

    np.testing.assert_array_equal(both[:4], model.probabilities(["abca"]))
    np.testing.assert_array_equal(both[4:], model.probabilities(["bca"]))


def test_bits_are_the_mean_of_negative_logarithms() -> None:
    expected = -(math.log2(1 / 2) + math.log2(1 / 3)) / 2

    assert NgramModel(["aab"], order=1).bits_per_character(["ab"]) == pytest.approx(expected)


def test_an_error_is_raised_when_there_is_no_character() -> None:
    with pytest.raises(ValueError, match="texts must hold at least one character, got none"):
        NgramModel(["ab"], order=2).bits_per_character([""])


@pytest.mark.parametrize(
    ("order", "message"),
    [(0, "order must be at least 1, got 0"), (63, r"order must keep 3\*\*order .*, got 63")],
)
def test_an_error_is_raised_when_the_order_is_out_of_range(order: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NgramModel(["ab"], order)


def test_modules_are_whole_when_their_chunks_are_joined() -> None:
    chunks = [Example("ab", key="x.y:0"), Example("c", key="x.y:2"), Example("d", key="z:0")]

    assert join_modules(chunks) == ["abc", "d"]


def test_both_figures_are_printed_when_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--split", "val", "--fraction", "0.01", "--order", "2", "--chunk", "64"])
    printed = capsys.readouterr().out

    assert "bits per character, chunks of 64" in printed
    assert "bits per character, whole modules" in printed
