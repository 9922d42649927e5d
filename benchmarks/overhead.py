"""What Lightning costs per training step, over a bare loop that does the same.

Run as `python -m benchmarks.overhead`. The head is one parameter times the input, so that a step is
nothing but machinery. The loop takes the same batches from the same loader and calls the head's
step, backward, clipping, optimiser and scheduler; the run is one of the command `seqattn fit`, with
its callbacks, its log file and the loss logged. Both end with the same parameter, or the race is
void. W&B is off: it writes from a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from benchmarks import record
from benchmarks.race import gemm_peak, one_thread, require_equal
from benchmarks.trivial_head import ReadyBatches, StepClock, TrivialHead
from seqattn.commands.trainer_command import run
from seqattn.optim import clip_gradients, make_optimizer, make_scheduler

_PARTS = "benchmarks.trivial_head"
_TOLERANCE = 1e-6


def main(arguments: Sequence[str] | None = None) -> None:
    """Race the loop and the command, with and without progress bar; print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warmup", type=int, default=200, help="steps before the clock starts")
    parser.add_argument("--turns", type=int, default=5)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.steps, options.warmup, options.turns = 20, 5, 1
    with one_thread(), in_temporary_folder():
        figures = measure(options.steps, options.warmup, options.turns)
        figures["GEMM peak, GFLOP/s"] = gemm_peak(seconds=record.seconds_of_race(options))
    record.print_table([{"figure": name, "value": value} for name, value in figures.items()])
    row = record.Row(
        name="trivial head",
        model="one parameter times the input",
        data=f"{options.steps} ready batches of 4 numbers, after {options.warmup} to warm up",
        metric="CPU microseconds per optimiser step, the least of "
        f"{options.turns} turns; overhead is over the bare loop",
        seeds=[1],
        figures=figures,
    )
    command = record.command_line("overhead", arguments)
    record.write_rows(record.results_folder(options), "overhead", command, [row])


def measure(steps: int, warmup: int, turns: int) -> dict[str, float]:
    """Return microseconds per step of each side, which take turns."""
    best = {"bare loop": float("inf"), "command": float("inf"), "with progress bar": float("inf")}
    for _ in range(turns):
        seconds, expected = run_loop(steps, warmup)
        best["bare loop"] = min(best["bare loop"], seconds)
        for name, has_bar in (("command", False), ("with progress bar", True)):
            seconds, weight = run_command(steps, warmup, has_bar=has_bar)
            require_equal("loop and command", weight, expected, _TOLERANCE)
            best[name] = min(best[name], seconds)
    per_step = {name: 1e6 * seconds / steps for name, seconds in best.items()}
    return {
        **{f"{name}, µs": value for name, value in per_step.items()},
        "overhead, µs": per_step["command"] - per_step["bare loop"],
        "overhead with progress bar, µs": per_step["with progress bar"] - per_step["bare loop"],
    }


def run_loop(steps: int, warmup: int) -> tuple[float, Tensor]:
    """Return the CPU seconds of `steps` steps after the warm-up, and the weight at the end."""
    total = steps + warmup
    head = TrivialHead()
    head.configure_model()
    head.train()
    optimizer = make_optimizer(head, head.learning_rate, head.weight_decay, fused=True)
    scheduler = make_scheduler(
        optimizer, schedule=head.schedule, warmup_steps=head.warmup_steps, total_steps=total
    )
    started = 0.0
    for number, batch in enumerate(ReadyBatches(total).train_dataloader()):
        if number == warmup:
            started = time.process_time()
        summed, weight = head.step(batch, "train").sums()
        optimizer.zero_grad()
        (summed / weight).backward()
        clip_gradients(head.parameters(), head.clip_norm)
        optimizer.step()
        scheduler.step()
    return time.process_time() - started, head.output.weight.detach().clone()


def run_command(steps: int, warmup: int, *, has_bar: bool) -> tuple[float, Tensor]:
    """Return the same of `seqattn fit`; its text goes nowhere.

    Raises:
        RuntimeError: if the command fails.
    """
    Path("overhead.yaml").write_text(yaml.safe_dump(config(steps, warmup, has_bar=has_bar)))
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        code = run(["fit", "--config", "overhead.yaml", "--trust", "benchmarks"])
    if code:
        raise RuntimeError(f"seqattn fit must succeed, got exit code {code}: {heard.getvalue()}")
    seconds, weight = StepClock.results["seconds"], StepClock.results["weight"]
    assert isinstance(seconds, float)
    assert isinstance(weight, Tensor)
    return seconds, weight


def config(steps: int, warmup: int, *, has_bar: bool) -> Mapping[str, Any]:
    """Return the configuration of the run."""
    clock = {"class_path": f"{_PARTS}.StepClock", "init_args": {"warmup": warmup}}
    return {
        "seed_everything": 1,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "enable_progress_bar": has_bar,
            "callbacks": [clock],
        },
        "model": {"class_path": f"{_PARTS}.TrivialHead"},
        "data": {
            "class_path": f"{_PARTS}.ReadyBatches",
            "init_args": {"steps": steps + warmup},
        },
    }


@contextlib.contextmanager
def in_temporary_folder() -> Iterator[None]:
    """Work where run directories may be left, with W&B off and third parties' warnings unsaid."""
    before, mode = Path.cwd(), os.environ.get("WANDB_MODE")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        os.environ["WANDB_MODE"] = "disabled"
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.pop("WANDB_MODE")
            if mode is not None:
                os.environ["WANDB_MODE"] = mode


if __name__ == "__main__":
    main()
