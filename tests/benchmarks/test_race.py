from __future__ import annotations

import time

import pytest
import torch

from benchmarks.race import Timing, cpu_seconds, gemm_peak, one_thread, race, require_equal


def test_contestants_take_turns_when_they_race() -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        calls.append(name)
        until = time.process_time() + 0.03  # longer than a turn, so that it is called once in each
        while time.process_time() < until:
            pass

    race({"a": lambda: note("a"), "b": lambda: note("b")}, turns=3, seconds=0)

    assert calls[-6:] == ["a", "b", "a", "b", "a", "b"]


def test_race_goes_on_until_the_seconds_are_spent() -> None:
    timing = race({"a": lambda: sum(range(1000))}, turns=1, seconds=0.05)["a"]

    assert timing.spent >= 0.05
    assert len(timing.turns) > 1


def test_best_and_median_are_those_of_the_turns() -> None:
    timing = Timing(calls=2, turns=[3.0, 1.0, 2.5])

    assert (timing.best, timing.typical, timing.spent) == (1.0, 2.5, 13.0)


def test_waiting_does_not_count() -> None:
    assert cpu_seconds(lambda: time.sleep(0.2)) < 0.1


def test_threads_are_put_back_when_a_race_ends() -> None:
    before = torch.get_num_threads()
    with one_thread():
        inside = torch.get_num_threads()

    assert inside == 1
    assert torch.get_num_threads() == before


def test_an_error_is_raised_when_there_is_no_turn() -> None:
    with pytest.raises(ValueError, match="turns must be at least 1, got 0"):
        race({"a": lambda: None}, turns=0)


def test_the_largest_difference_is_returned_when_outputs_agree() -> None:
    found, expected = torch.tensor([1.0, 2.0]), torch.tensor([1.25, 2.125])

    assert require_equal("both", found, expected, 0.25) == 0.25


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (torch.tensor([1.0, 3.0]), "outputs of both must agree within 0.5, got 1"),
        (torch.tensor([1.0, float("nan")]), "outputs of both must agree within 0.5, got nan"),
        (torch.ones(3), r"outputs of both must have one shape, got \(2,\) and \(3,\)"),
    ],
)
def test_a_race_is_void_when_outputs_differ(expected: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_equal("both", torch.tensor([1.0, 2.0]), expected, 0.5)


def test_gemm_peak_is_positive() -> None:
    assert gemm_peak(64, seconds=0) > 0
