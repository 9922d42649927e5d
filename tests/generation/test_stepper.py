from __future__ import annotations

import math

import pytest
import torch

from seqattn import DataError
from seqattn.generation.stepper import Limits, in_full_precision, normalise


def limits(min_length: int = 0) -> Limits:
    return Limits.of(torch.zeros(3, dtype=torch.int64), 0, 9, min_length, [4, 5], ["a", "b", "c"])


def test_score_is_divided_by_the_lengths_power() -> None:
    assert normalise(-8.0, 4, 0.0) == -8.0
    assert normalise(-8.0, 4, 0.5) == -4.0
    assert normalise(-8.0, 4, -1.0) == -32.0
    assert normalise(-math.inf, 4, 1.0) == -math.inf


def test_the_end_is_hidden_until_min_length() -> None:
    assert limits(2).hidden(1).tolist() == [4, 5, 0]
    assert limits(2).hidden(2).tolist() == [4, 5]


def test_logits_become_logarithms_of_probabilities_in_float32_at_least() -> None:
    logits = torch.randn(6, 5, dtype=torch.bfloat16)
    found = limits().log_probs(logits, [0, 1, 2], 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(6))
    torch.testing.assert_close(
        (found[:, 1] - found[:, 0]), logits.float()[:, 1] - logits.float()[:, 0]
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_sentence_of_a_bad_row_is_named(value: float) -> None:
    logits = torch.zeros(4, 5)  # two rows each of the sentences 0 and 2
    logits[2, 1] = value
    with pytest.raises(DataError, match=f"'c'.*got {value} at step 7 of sentence 2"):
        limits().log_probs(logits, [0, 2], 7)


def test_a_row_where_nothing_can_come_is_refused() -> None:
    with pytest.raises(DataError, match="got -inf at step 0 of sentence 1"):
        limits().log_probs(torch.full((1, 5), -torch.inf), [1], 0)


def test_half_precision_becomes_float32_and_double_stays() -> None:
    assert in_full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert in_full_precision(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
