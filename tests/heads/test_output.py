import math

import pytest
import torch

from seqattn.heads.output import Loss, cross_entropy


def test_sums_count_exactly_when_losses_are_bfloat16() -> None:
    ones = torch.ones(1003, dtype=torch.bfloat16)  # whose sum would be 1004
    assert [float(part) for part in Loss(2 * ones, ones).sums()] == [2006, 1003]


def test_sums_stay_in_float64() -> None:
    total, weight = Loss(torch.ones(2).double(), torch.ones(2).double()).sums()
    assert total.dtype == weight.dtype == torch.float64


def test_cross_entropy_leaves_out_labels_that_training_never_had() -> None:
    loss = cross_entropy(torch.zeros(3, 4), torch.tensor([1, -1, 0]))
    assert loss.weight.tolist() == [1, 0, 1]
    assert float(loss.sums()[0]) == pytest.approx(2 * math.log(4))


def test_cross_entropy_of_nothing_is_zero() -> None:
    total, weight = cross_entropy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).sums()
    assert (float(total), float(weight)) == (0, 0)
