"""One race between this library and a peer: outputs compared first, then CPU time in turns."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.race import Timing, gemm_peak, race, require_equal

EXACT = 1e-4
"""Largest difference of two float32 outputs."""


@dataclass(frozen=True)
class Contest:
    """Two ways to compute the same, and how to tell that it is the same.

    Args:
        name: of the row.
        peer: whose code is raced against.
        data: what both compute on.
        compare: returns the largest difference; raises ValueError where the outputs differ.
        ours: one call of this library's.
        theirs: one call of the peer's.
        flops: useful floating-point operations of a call, or 0 where speed says nothing.
        target: the least ratio of their time to ours.
        without: this library's call with one of its means taken away, by the mean's name.
        others: further contestants, by name.
        figures: numbers known beforehand.
        dtype: of our products; the peak is measured in it.
    """

    name: str
    peer: str
    data: str
    compare: Callable[[], float]
    ours: Callable[[], object]
    theirs: Callable[[], object]
    flops: float = 0.0
    target: float = 0.0
    without: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    others: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32


def run_contest(contest: Contest, *, turns: int, seconds: float) -> dict[str, float | str]:
    """Return the figures of a race; only the reason in ``void`` where the outputs differ."""
    try:
        difference = contest.compare()
    except ValueError as error:
        return {"void": str(error)}
    pair = {"ours": contest.ours, "theirs": contest.theirs}
    peak = gemm_peak(dtype=contest.dtype)
    timings = race({**pair, **contest.without, **contest.others}, turns=turns, seconds=seconds)
    peak = max(peak, gemm_peak(dtype=contest.dtype))
    best = {name: 1e3 * timing.best for name, timing in timings.items()}
    figures: dict[str, float | str] = {
        "ours, ms": best["ours"],
        "theirs, ms": best["theirs"],
        "ratio": best["theirs"] / best["ours"],
        "ratio of medians": timings["theirs"].typical / timings["ours"].typical,
        "target": contest.target,
        "largest difference": difference,
        **{f"system, {name}, ms": system_milliseconds(run) for name, run in pair.items()},
        "turns": min(len(timing.turns) for timing in timings.values()),
        **_mfu(contest, timings, peak),
        **{f"{name}, ms": best[name] for name in contest.others},
        **_gains(contest, best),
        **contest.figures,
    }
    return figures


def system_milliseconds(run: Callable[[], object]) -> float:
    """Return the part of a call's CPU time that the operating system takes, the least of three.

    Mostly it hands out fresh pages: C's allocator gives blocks above 32 MiB back at once. Another
    allocator would save it, so a ratio that rests on it is to be read with care.
    """
    spent = []
    for _ in range(3):
        began = resource.getrusage(resource.RUSAGE_SELF).ru_stime
        run()
        spent.append(1e3 * (resource.getrusage(resource.RUSAGE_SELF).ru_stime - began))
    return min(spent)


def _mfu(contest: Contest, timings: Mapping[str, Timing], peak: float) -> dict[str, float | str]:
    """Return the part of the measured peak that useful operations take; none without operations."""
    if not contest.flops:
        return {}
    rates = {name: contest.flops / timings[name].best / 1e9 for name in ("ours", "theirs")}
    shares = {f"useful MFU, {name}": rate / peak for name, rate in rates.items()}
    return {**shares, "GEMM peak, GFLOP/s": peak}


def _gains(contest: Contest, best: Mapping[str, float]) -> dict[str, float | str]:
    """Return the milliseconds that each mean saves, and those that none of them explains."""
    if not contest.without:
        return {}
    saved = {name: best[name] - best["ours"] for name in contest.without}
    rest = best["theirs"] - best["ours"] - sum(saved.values())
    return {f"gain by {name}, ms": value for name, value in {**saved, "the rest": rest}.items()}


def markdown(rows: Sequence[tuple[Contest, Mapping[str, float | str]]]) -> str:
    """Return a table of the races."""
    lines = [
        "| race | peer | ours, ms (system) | theirs, ms (system) | ratio | at least "
        "| useful MFU, ours / theirs |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *(_line(contest, figures) for contest, figures in rows)])


def _line(contest: Contest, figures: Mapping[str, float | str]) -> str:
    start = f"| {contest.name} | {contest.peer} |"
    if "void" in figures:
        return f"{start} | | void: {figures['void']} | {contest.target:g} | |"
    share = ""
    if contest.flops:
        share = f"{figures['useful MFU, ours']:.2f} / {figures['useful MFU, theirs']:.2f}"
    times = " | ".join(
        f"{figures[f'{name}, ms']:.3g} ({figures[f'system, {name}, ms']:.2g})"
        for name in ("ours", "theirs")
    )
    target = f"{contest.target:g}" if contest.target else ""
    return f"{start} {times} | **{figures['ratio']:.2f}** | {target} | {share} |"


def markdown_of_gains(rows: Sequence[tuple[Contest, Mapping[str, float | str]]]) -> str:
    """Return which part of our gain comes from where, a line per race that took it apart."""
    lines = []
    for contest, figures in rows:
        names = [name for name in figures if name.startswith("gain by ")]
        parts = [f"{name[8:-4]} {float(figures[name]):.0f}" for name in names]
        if parts:
            lines.append(f"- {contest.name}, milliseconds saved: {', '.join(parts)}")
    return "\n".join(lines)


def compare_outputs(
    ours: Callable[[], Tensor], theirs: Callable[[], Tensor], tolerance: float = EXACT
) -> Callable[[], float]:
    """Return a comparison of two outputs."""
    return lambda: require_equal("ours and theirs", ours(), theirs(), tolerance)


def compare_gradients(
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor],
    wanted: Sequence[tuple[Tensor, Tensor]],
    tolerance: float = EXACT,
) -> Callable[[], float]:
    """Return a comparison of outputs and of the gradients of a random projection of them.

    Args:
        ours: this library's output.
        theirs: the peer's, of the same shape.
        wanted: what the gradients are taken by, ours and theirs.
        tolerance: the largest difference of outputs; of gradients, relative to the largest.
    """

    def compare() -> float:
        outputs = ours(), theirs()
        detached = [output.detach() for output in outputs]
        difference = require_equal("ours and theirs", *detached, tolerance)
        probe = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(0))
        gradients = [
            torch.autograd.grad(output, inputs, probe.to(output.dtype))
            for output, inputs in zip(outputs, zip(*wanted, strict=True), strict=True)
        ]
        for mine, other in zip(*gradients, strict=True):
            size = max(float(other.abs().max()), math.ulp(1.0))
            require_equal("the gradients of ours and theirs", mine / size, other / size, tolerance)
        return difference

    return compare


def copy_linear(source: nn.Linear, target: nn.Linear) -> None:
    """Copy weight and bias."""
    target.load_state_dict(source.state_dict())
