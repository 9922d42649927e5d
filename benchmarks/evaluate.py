"""The figures of a trained checkpoint on a split, as `seqattn test` computes them, recorded.

Run as `python -m benchmarks.evaluate NAME --config configs/NAME.yaml --checkpoint FILE`. The row
goes to benchmarks/results/NAME.json with the command that trained the checkpoint, which its run
directory knows.
"""

from __future__ import annotations

import argparse
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks import record
from seqattn.checkpoint import SavedHead
from seqattn.commands import environment
from seqattn.commands.training import SequenceCLI
from seqattn.commands.trust import import_policy

_COMMANDS = {"val": "validate", "test": "test"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__)
    parser.add_argument("name", help="of the record: NAME.json")
    parser.add_argument("--config", type=Path, required=True, help="whose data are evaluated")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(_COMMANDS), default="test")
    parser.add_argument("--override", nargs="*", default=[], help="as data.batch_tokens=4096")
    record.add_options(parser)
    options = parser.parse_args(arguments)
    overrides = [f"--{word}" for word in options.override]
    if options.quick:
        overrides.append(f"--trainer.limit_{options.split}_batches=1")
    environment.put_working_directory_first()
    environment.hush()
    metrics = evaluate(options.config, options.checkpoint, options.split, overrides)
    record.print_table([{"metric": name, "value": value} for name, value in metrics.items()])
    row = record.Row(
        name=" ".join([options.config.stem, options.split, *options.override]),
        model=describe(options.checkpoint),
        data=f"{options.split} of {options.config.name}",
        metric="the head's own, by seqattn.metrics",
        seeds=training_seeds(options.checkpoint),
        figures={**metrics, "trained by": training_command(options.checkpoint)},
    )
    command = record.command_line("evaluate", arguments)
    record.write_rows(record.results_folder(options), options.name, command, [row])


def evaluate(
    config: Path, checkpoint: Path, split: str, overrides: Sequence[str] = ()
) -> dict[str, float]:
    """Return the metrics of a checkpoint on ``val`` or ``test`` of a configuration's data."""
    with tempfile.TemporaryDirectory() as folder, import_policy(()):
        words = ["--config", str(config), "--ckpt_path", str(checkpoint), *overrides]
        unlogged = ["--trainer.default_root_dir", folder, "--wandb.mode", "disabled"]
        cli = SequenceCLI([_COMMANDS[split], *words, *unlogged])
    found = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    return {name: value for name, value in found.items() if name.startswith(f"{split}/")}


def describe(checkpoint: Path) -> str:
    """Return class, sizes and number of weights of a saved model."""
    saved = SavedHead.read(checkpoint)
    parts = saved.spec["init_args"]
    sizes = {name: parts["encoder"]["init_args"][name] for name in ("dim", "depth", "heads")}
    shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
    trained = (name.startswith(("frontend.", "encoder.", "output.")) for name in saved.weights)
    weights = zip(saved.weights.values(), trained, strict=True)
    count = sum(weight.numel() for weight, is_trained in weights if is_trained)
    frontend = str(parts["frontend"]["class_path"]).rpartition(".")[2]
    head = str(saved.spec["class_path"]).rpartition(".")[2]
    return f"{head} on {frontend}, {shown}, {count} weights"


def training_command(checkpoint: Path) -> str:
    """Return the command in the first line of the run's config.yaml, or 'unknown'."""
    first = _read_config(checkpoint).partition("\n")[0]
    if not re.match(r"# seqattn fit\b", first):
        return "unknown"
    return shlex.join(record.relative(word) for word in shlex.split(first.removeprefix("# ")))


def training_seeds(checkpoint: Path) -> list[int]:
    """Return the seed in the run's resolved configuration; none where it is not known."""
    path = checkpoint.absolute().parents[1] / "resolved.yaml"
    values = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    seed = values.get("seed_everything")
    return [seed] if isinstance(seed, int) and not isinstance(seed, bool) else []


def _read_config(checkpoint: Path) -> str:
    """Return config.yaml of the run directory in whose ``checkpoints`` a file lies."""
    path = checkpoint.absolute().parents[1] / "config.yaml"
    return path.read_text("utf-8") if path.is_file() else ""


if __name__ == "__main__":
    main()
