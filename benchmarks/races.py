"""All speed and memory races: `python -m benchmarks.races [NAME …]`, or all without a name.

A race compares the outputs first, and is void where they differ. Everything runs in one process
on one thread, the contestants in turns; the time is the process's CPU time, the least of all
turns. "Useful MFU" counts operations on real positions only, against the matrix product's speed
measured beside the race. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version

from benchmarks import race_memory, record
from benchmarks.race_contest import Contest, markdown, markdown_of_gains, run_contest

GROUPS = ("encoder", "bert", "decoder", "beam", "window", "graph", "audio", "memory")
"""Names on the command line; each but the last is a module `race_NAME`."""

_PEERS = {
    "bert": "transformers",
    "decoder": "transformers",
    "beam": "transformers",
    "graph": "torch_geometric",
    "audio": "torchaudio",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the races named; print and record them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.races", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--turns", type=int, default=7, help="of each contestant, at least")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, at least")
    record.add_options(parser)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(GROUPS))
    if unknown:
        parser.error(f"names must be of {', '.join(GROUPS)}, got {unknown[0]!r}")
    if options.quick:
        options.turns, options.seconds = 1, 0.0
    command = record.command_line("races", arguments)
    folder = record.results_folder(options)
    for name in options.names or GROUPS:
        if name == "memory":
            rows = run_memory(quick=options.quick)
        else:
            rows = run_group(name, options.turns, options.seconds, quick=options.quick)
        record.write_rows(folder, "races", command, rows)


def run_group(name: str, turns: int, seconds: float, *, quick: bool) -> list[record.Row]:
    """Run and print the races of one module."""
    contests: Callable[..., Iterator[Contest]]
    contests = import_module(f"benchmarks.race_{name}").contests
    done = []
    for contest in contests(quick=quick):
        done.append((contest, run_contest(contest, turns=turns, seconds=seconds)))
    print(markdown(done), end="\n\n", flush=True)
    gains = markdown_of_gains(done)
    if gains:
        print(gains, end="\n\n", flush=True)
    return [make_row(contest, figures, name) for contest, figures in done]


def make_row(contest: Contest, figures: Mapping[str, float | str], group: str) -> record.Row:
    """Return the record of a race."""
    package = _PEERS.get(group, "torch")
    return record.Row(
        name=contest.name,
        model=f"ours against {contest.peer} ({package} {version(package)})",
        data=contest.data,
        metric="CPU milliseconds of a call, least of all turns, one thread; ratio theirs / ours",
        seeds=[0],
        figures=figures,
    )


def run_memory(*, quick: bool) -> list[record.Row]:
    """Run and print the memory rows."""
    peaks = race_memory.peaks(quick=quick)
    print("| forward and backward | peak, GiB | at most |\n|---|---:|---:|")
    for name, peak in peaks.items():
        print(f"| {name} | {peak:.2f} | {race_memory.LIMIT:g} |")
    return [
        record.Row(
            name=f"memory: {name}",
            model="one attention layer",
            data=name,
            metric="peak resident GiB of the whole process, one forward and backward pass",
            seeds=[0],
            figures={"peak, GiB": peak, "at most": race_memory.LIMIT},
        )
        for name, peak in peaks.items()
    ]


if __name__ == "__main__":
    main()
