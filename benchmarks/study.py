r"""One configuration trained many times: over seeds or folds, for each variant; mean and spread.

A setting is any argument of `lightning fit` as KEY=VALUE, in which {name} stands for a value of
--each (a row per combination) or --over (what a row is the mean of), as in

    python -m benchmarks.study contacts --config configs/contacts.yaml \
        --each weight=ignore,replace --over seed=0..9 \
        --set model.encoder.edge_weight={weight} seed_everything={seed} data.train.seed={seed}

Every run is `lightning fit`, then `lightning test` of its best checkpoint. A row is written when
its runs are done; a row of the same name replaces the older one.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from benchmarks import record
from benchmarks.evaluate import describe
from seqattn.commands import environment
from seqattn.commands.training import SequenceCLI
from seqattn.commands.trust import import_policy

_COMMANDS = {"val": "validate", "test": "test"}

Values = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every run, print and record."""
    options = parse(arguments)
    environment.put_working_directory_first()
    environment.hush()
    command = record.command_line("study", arguments)
    rows = []
    for variant in combinations(options.each):
        runs = [{**variant, **values} for values in combinations(options.over)]
        found = [run(values, options) for values in (runs[:1] if options.quick else runs)]
        row = record.Row(
            name=" ".join(f"{name}={value}" for name, value in variant.items()) or options.name,
            model=found[0][1],
            data=f"{options.split} of {' '.join(path.name for path in options.config)}",
            metric="the head's own, by seqattn.metrics; mean, standard deviation and every run",
            seeds=seeds_of(runs),
            figures=summarize([metrics for metrics, _ in found]),
        )
        record.write_rows(record.results_folder(options), options.name, command, [row])
        rows.append({"row": row.name, **shown(row.figures)})
        print(rows[-1], flush=True)
    record.print_table(rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="of the record: NAME.json")
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--each", nargs="*", default=[], type=values, metavar="NAME=A,B")
    parser.add_argument("--over", nargs="*", default=[], type=values, metavar="NAME=0..9")
    parser.add_argument("--split", choices=sorted(_COMMANDS), default="test")
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.set += ["trainer.max_steps=2", f"trainer.limit_{options.split}_batches=1"]
    return options


def values(word: str) -> tuple[str, list[str]]:
    """Return the name and the values of ``name=a,b`` or ``name=0..9``.

    Raises:
        argparse.ArgumentTypeError: if the word has another form.
    """
    name, equals, given = word.partition("=")
    if not (name and equals and given):
        raise argparse.ArgumentTypeError(f"must be NAME=A,B or NAME=0..9, got {word!r}")
    first, dots, last = given.partition("..")
    if dots and first.isdecimal() and last.isdecimal():
        return name, [str(number) for number in range(int(first), int(last) + 1)]
    return name, given.split(",")


def combinations(choices: Sequence[tuple[str, Sequence[str]]]) -> list[Values]:
    """Return every way to choose one value of each name; one empty choice of no names."""
    names = [name for name, _ in choices]
    products = itertools.product(*(given for _, given in choices))
    return [dict(zip(names, product, strict=True)) for product in products]


def run(chosen: Values, options: argparse.Namespace) -> tuple[dict[str, float], str]:
    """Train and test once; return the metrics and a line that says what the model is."""
    configs = [word for path in options.config for word in ("--config", str(path))]
    settings = [f"--{setting.format_map(chosen)}" for setting in options.set]
    with tempfile.TemporaryDirectory() as folder, import_policy(()):
        unlogged = [f"--trainer.default_root_dir={folder}", "--wandb.mode=disabled"]
        SequenceCLI(["fit", *configs, *settings, *unlogged])
        (best,) = Path(folder).glob("runs/*/*/checkpoints/best.ckpt")
        command = _COMMANDS[options.split]
        cli = SequenceCLI([command, *configs, *settings, *unlogged, f"--ckpt_path={best}"])
        metrics = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
        found = {name: metrics[name] for name in metrics if name.startswith(options.split)}
        print(chosen, {name: round(value, 4) for name, value in found.items()}, flush=True)
        return found, describe(best)


def seeds_of(runs: Iterable[Values]) -> list[int]:
    """Return the seeds that the runs differ in, if they do."""
    return sorted({int(values["seed"]) for values in runs if "seed" in values})


def summarize(runs: Sequence[Mapping[str, float]]) -> dict[str, record.Figure]:
    """Return mean, standard deviation and single values of each metric."""
    figures: dict[str, record.Figure] = {"runs": len(runs)}
    for name in runs[0]:
        single = [metrics[name] for metrics in runs]
        figures[name] = fmean(single)
        if len(single) > 1:
            figures[f"{name}, standard deviation"] = stdev(single)
            figures[f"{name}, every run"] = single
    return figures


def shown(figures: Mapping[str, record.Figure]) -> dict[str, str]:
    """Return mean and deviation of each metric in a word."""
    table = {}
    for name, value in figures.items():
        if isinstance(value, float) and "," not in name:
            spread = figures.get(f"{name}, standard deviation", 0.0)
            table[name] = f"{value:.4f} ± {spread:.4f}"
    return table


if __name__ == "__main__":
    main()
