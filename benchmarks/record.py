"""What a benchmark writes down: its rows, and where, when and with what they were measured.

One JSON file per benchmark. Every row says how it came about on its own, so that a benchmark can
be run in pieces: a row of the same name replaces the older one, the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import seqattn
from seqattn.commands.threads import usable_cores

RESULTS = Path(__file__).parent / "results"

Figure = float | int | str | list[float]
Document = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Args:
        name: what tells the row from the others of its benchmark.
        model: what was measured.
        data: on what.
        metric: what the figures mean, with their units and whatever scored them.
        seeds: of every random choice.
        figures: the numbers by name.
    """

    name: str
    model: str
    data: str
    metric: str
    seeds: list[int]
    figures: Mapping[str, Figure]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try whether it runs")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of the record; benchmarks/results by default, with --quick none",
    )


def seconds_of_race(options: argparse.Namespace) -> float:
    """Return the CPU seconds that each side of a race takes at least."""
    return 0.0 if options.quick else 0.4


def results_folder(options: argparse.Namespace) -> Path | None:
    """Return where to write; None for a quick run that did not ask, whose figures mean nothing."""
    given: Path | None = options.results
    return given or (None if options.quick else RESULTS)


def command_line(benchmark: str, arguments: Sequence[str] | None) -> str:
    """Return the command to repeat a run, its files named from the working directory."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [relative(argument) for argument in given]
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *words])


def write_rows(folder: Path | None, benchmark: str, command: str, rows: Iterable[Row]) -> None:
    """Put rows into the benchmark's file, each with its provenance; do nothing without a folder."""
    if folder is None:
        return
    source = provenance(command)
    kept = {str(row["name"]): row for row in read_rows(folder, benchmark)}
    kept.update({row.name: {**asdict(row), **source} for row in rows})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.json"
    part = path.with_name(f"{path.name}.part")
    document = {"rows": [kept[name] for name in sorted(kept)]}
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def read_rows(folder: Path | None, benchmark: str) -> list[dict[str, object]]:
    """Return the rows of the benchmark's file; none without folder or file."""
    path = None if folder is None else folder / f"{benchmark}.json"
    if path is None or not path.is_file():
        return []
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document["rows"]


def provenance(command: str) -> dict[str, object]:
    """Return what a row rests on: command, date, commit, versions and hardware."""
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {
            "seqattn": seqattn.__version__,
            **{name: version(name) for name in ("torch", "lightning", "torchmetrics")},
        },
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
    }


def commit() -> str:
    """Return the checked-out commit, marked where the code differs from it."""
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", "seqattn", "tasks", "benchmarks/*.py")
    return f"{head} with changes" if head and changed else head or "unknown"


def cpu_model() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of the same keys as aligned columns; floats with four digits."""
    if not rows:
        return
    cells = [list(rows[0]), *([_show(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        pairs = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in pairs).rstrip())


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def relative(argument: str) -> str:
    """Return an argument with an absolute path in it, or behind its ``=``, made relative."""
    name, equals, value = argument.rpartition("=")
    if not os.path.isabs(value):
        return argument
    return f"{name}{equals}{os.path.relpath(value)}"


def _git(*words: str) -> str:
    """Return what git says about this source tree; nothing where there is no git."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parents[1], capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
