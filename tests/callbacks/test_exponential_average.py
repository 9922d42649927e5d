import pytest
import torch

from seqattn.callbacks import ExponentialAverage


def test_early_steps_replace_most_of_the_average() -> None:
    average = ExponentialAverage(0.999)._mean(torch.tensor(0.0), torch.tensor(11.0), 1)
    assert float(average) == pytest.approx(9.0)  # 2 / 11 is kept


def test_late_steps_keep_the_share_that_was_asked_for() -> None:
    average = ExponentialAverage(0.5)._mean(torch.tensor(0.0), torch.tensor(1.0), 10_000)
    assert float(average) == 0.5


def test_integers_are_taken_over() -> None:
    average = ExponentialAverage()._mean(torch.tensor(3), torch.tensor(7), 10_000)
    assert int(average) == 7


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_must_be_a_share(decay: float) -> None:
    with pytest.raises(ValueError, match=rf"decay must lie in 0 … 1, 1 excluded, got {decay}"):
        ExponentialAverage(decay)
