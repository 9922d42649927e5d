"""What joint training costs each head: its score beside that of the same head trained alone.

Run as `python -m benchmarks.joint`. Alone, a head has the same encoder, learning rate, batches
and number of steps as in configs/joint.yaml. The score is what chooses the head's best checkpoint,
on the test split.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import record
from seqattn.commands import environment
from seqattn.commands.training import SequenceCLI
from seqattn.commands.trust import import_policy
from seqattn.heads.multitask import MultiTask

_CONFIG = Path(__file__).parents[1] / "configs" / "joint.yaml"

Config = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train jointly and alone, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint", description=__doc__)
    parser.add_argument("--config", type=Path, default=_CONFIG)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    environment.put_working_directory_first()
    environment.hush()
    config: Config = yaml.safe_load(options.config.read_text("utf-8"))
    limits = ["--trainer.max_steps=2", "--trainer.limit_test_batches=1"] if options.quick else []
    names = list(config["model"]["init_args"]["heads"])
    joint, monitors = train(config, limits)
    rows = []
    for name in names:
        alone, _ = train(alone_config(config, name), limits)
        metric = monitors[name]
        rows.append(row_of(name, metric, joint[f"{name}/{metric}"], alone[metric], config))
        print(rows[-1].name, dict(rows[-1].figures), flush=True)
    command = record.command_line("joint", arguments)
    record.write_rows(record.results_folder(options), "joint", command, rows)
    record.print_table([{"head": row.name, **row.figures} for row in rows])


def alone_config(config: Mapping[str, Any], name: str) -> Config:
    """Return the configuration of one head alone, with the joint run's encoder and settings."""
    shared = dict(config["model"]["init_args"])
    head = shared.pop("heads")[name]
    shared.pop("weights", None)
    model = {**head, "init_args": {**head["init_args"], **shared}}
    data = {
        "class_path": "seqattn.SequenceData",
        "init_args": config["data"]["init_args"]["tasks"][name],
    }
    return {**config, "model": model, "data": data}


def train(config: Config, limits: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Fit and test the best checkpoint; return the test metrics, and each head's own metric."""
    with tempfile.TemporaryDirectory() as folder, import_policy(()):
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        words = [f"--config={path}", f"--trainer.default_root_dir={folder}", *limits]
        fitted = SequenceCLI(["fit", *words, "--wandb.mode=disabled"]).model
        (best,) = Path(folder).glob("runs/*/*/checkpoints/best.ckpt")
        cli = SequenceCLI(["test", *words, "--wandb.mode=disabled", f"--ckpt_path={best}"])
        heads = fitted.tasks if isinstance(fitted, MultiTask) else {}
        monitors = {
            name: head.monitor[0].replace("val/", "test/", 1) for name, head in heads.items()
        }
        return {
            name: float(value) for name, value in cli.trainer.callback_metrics.items()
        }, monitors


def row_of(
    name: str, metric: str, joint: float, alone: float, config: Mapping[str, Any]
) -> record.Row:
    """Return the row of one head."""
    steps = config["trainer"]["max_steps"]
    return record.Row(
        name=name,
        model="configs/joint.yaml, and the same head alone",
        data=f"test split, after {steps} steps each",
        metric=metric,
        seeds=[int(config["seed_everything"])],
        figures={"joint": joint, "alone": alone, "ratio": joint / alone if alone else 0.0},
    )


if __name__ == "__main__":
    main()
