"""Speed races: CPU time of several functions in one process, their outputs compared first.

The clock is the process's CPU time, which does not run while another process has the core, with
one thread, for a second one that spins for a core would count. The contestants take turns, so
that a change of the machine's clock hits all of them; the best of several turns counts, since
whatever disturbs a turn makes it longer.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from seqattn.attention.linear import linear

_SHORTEST_TURN = 0.02
"""Seconds; a turn repeats the function until it takes so long, for the clock's sake."""


@dataclass
class Timing:
    """CPU seconds of one call of a contestant.

    Args:
        calls: calls in a turn.
        turns: seconds per call of each turn.
    """

    calls: int
    turns: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The shortest."""
        return min(self.turns)

    @property
    def typical(self) -> float:
        """The median; far above :attr:`best` where the machine was disturbed."""
        return median(self.turns)

    @property
    def spent(self) -> float:
        """Seconds of all turns together."""
        return self.calls * sum(self.turns)


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    turns: int = 3,
    seconds: float = 0.4,
) -> dict[str, Timing]:
    """Return the timing of each contestant, measured in turns on one thread.

    Args:
        contestants: functions of no argument that do the same work.
        turns: of each, at least.
        seconds: of CPU time for each, at least.

    Raises:
        ValueError: if `turns` is below 1.
    """
    if turns < 1:
        raise ValueError(f"turns must be at least 1, got {turns}")
    with one_thread(), quick_garbage_collection():
        timings = {name: Timing(_calls_per_turn(run)) for name, run in contestants.items()}
        while unfinished := [
            name for name, t in timings.items() if len(t.turns) < turns or t.spent < seconds
        ]:
            for name in unfinished:
                gc.collect()
                seconds_per_call = cpu_seconds(contestants[name], timings[name].calls)
                timings[name].turns.append(seconds_per_call)
    return timings


def cpu_seconds(run: Callable[[], object], calls: int = 1) -> float:
    """Return the CPU seconds of one call, the mean over several."""
    began = time.process_time()
    for _ in range(calls):
        run()
    return (time.process_time() - began) / calls


def _calls_per_turn(run: Callable[[], object]) -> int:
    """Warm the function up, and return how many calls make a turn."""
    first = cpu_seconds(run)
    again = min(first, cpu_seconds(run)) if first < 1 else first
    return max(1, round(_SHORTEST_TURN / max(again, 1e-7)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, and put its setting back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quick_garbage_collection() -> Iterator[None]:
    """Keep what the process held before out of Python's collector, which would count in a turn."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def require_equal(name: str, found: Tensor, expected: Tensor, tolerance: float) -> float:
    """Return the largest difference of two outputs.

    Shape:
        found, expected: any, the same.

    Raises:
        ValueError: if they differ by more than the tolerance, or in shape: the race is void.
    """
    if found.shape != expected.shape:
        shapes = f"{tuple(found.shape)} and {tuple(expected.shape)}"
        raise ValueError(f"outputs of {name} must have one shape, got {shapes}")
    largest = float((found - expected).abs().max()) if found.numel() else 0.0
    if not largest <= tolerance:
        raise ValueError(f"outputs of {name} must agree within {tolerance:g}, got {largest:g}")
    return largest


def gemm_peak(
    size: int = 512, dtype: torch.dtype = torch.float32, *, seconds: float = 0.4
) -> float:
    """Return the speed of a square matrix product in GFLOP/s, one thread: the machine's, today.

    The better of the two libraries that torch has for it: its own choice, and this library's.
    """
    left, right = torch.randn(2, size, size, dtype=dtype)
    out = torch.empty(size, size, dtype=dtype)
    contestants = {
        "torch": lambda: torch.mm(left, right, out=out),
        "ours": lambda: linear(left, right),
    }
    timings = race(contestants, seconds=seconds)
    return float(2 * size**3 / min(timing.best for timing in timings.values()) / 1e9)
