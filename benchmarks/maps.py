"""What drawing attention maps costs in an epoch of training.

Run as `python -m benchmarks.maps`. Model and batches are those of configs/python_roles.yaml, whose
validations are 500 steps apart: that is the epoch, about one pass over the data. A part of it is
run with and without the callback; both must end with the same weights, bit for bit, or the race is
void. The maps are timed inside the callback, their drawing included; the first ones, which load
fonts and more, apart. The seconds of an epoch follow from those of a step; its validation is left
out, so that the share is rather too high.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor

from benchmarks import record
from benchmarks.race import one_thread
from seqattn import Encoder, SequenceData, TextFrontEnd
from seqattn.callbacks import AttentionMaps
from tasks.python_roles import PythonRoles, RoleLabeling

EPOCH_STEPS = 500
_FRACTION = 0.05
# name: examples, layers, contributions
_CHOICES: dict[str, tuple[int, list[int] | None, bool]] = {
    "4 maps: 1 example, last layer": (1, [-1], False),
    "16 maps: 4 examples, last layer": (4, [-1], False),
    "48 maps: 4 examples, all layers, contributions": (4, None, True),
}


class TimedMaps(AttentionMaps):
    """Attention maps that note the CPU seconds of each time they are drawn."""

    def __init__(self, examples: int, layers: list[int] | None, contributions: bool) -> None:
        super().__init__(layers, examples=examples, contributions=contributions)
        self.seconds: list[float] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, with a clock."""
        began = time.process_time()
        super().on_validation_epoch_end(trainer, pl_module)
        self.seconds.append(time.process_time() - began)


class EpochClock(Callback):
    """Notes the CPU seconds of the training steps of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began = time.process_time()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        self.seconds.append(time.process_time() - self._began)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with and without maps; print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.maps", description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="of each of the three epochs")
    record.add_options(parser)
    options = parser.parse_args(arguments)
    steps = 2 if options.quick else options.steps
    rows = []
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = make_data()
        plain_seconds, expected = train(steps, data, None)
        for name, choice in _CHOICES.items():
            maps = TimedMaps(*choice)
            seconds, weights = train(steps, data, maps)
            require_same(name, weights, expected)
            rows.append(make_row(name, steps, min(plain_seconds, seconds), maps.seconds))
    record.print_table([{"row": row.name, **row.figures} for row in rows])
    command = record.command_line("maps", arguments)
    record.write_rows(record.results_folder(options), "maps", command, rows)


def make_row(name: str, steps: int, step_seconds: float, seconds: list[float]) -> record.Row:
    """Return the row of one choice of layers."""
    first, later = seconds[0], min(seconds[1:])
    epoch = EPOCH_STEPS * step_seconds
    return record.Row(
        name=name,
        model="RoleLabeling of configs/python_roles.yaml: D 128, 3 layers, 4 heads",
        data=f"PythonRoles, {_FRACTION:.0%} of the modules, batches of 2,048 tokens, "
        f"3 epochs of {steps} steps",
        metric="CPU seconds on one thread, the least of the epochs; share of the training steps "
        f"of an epoch of {EPOCH_STEPS}",
        seeds=[1],
        figures={
            "training step, s": step_seconds,
            "epoch, s": epoch,
            "maps, s": later,
            "first maps, s": first,
            "share, %": 100 * later / epoch,
            "first share, %": 100 * first / epoch,
        },
    )


def make_data() -> SequenceData:
    """Return a part of the data, read once."""
    train = PythonRoles("train", fraction=_FRACTION)
    return SequenceData(train, PythonRoles("val", fraction=_FRACTION), batch_tokens=2048)


def make_head() -> RoleLabeling:
    """Return the head of the configuration."""
    return RoleLabeling(
        TextFrontEnd("word", min_count=3, word_dropout=0.1, vocabulary_size=4000, dropout=0.1),
        Encoder(128, 3, 4, position="rotary", dropout=0.1),
        learning_rate=2e-3,
        warmup_steps=60,
    )


def train(
    steps: int, data: SequenceData, maps: TimedMaps | None
) -> tuple[float, dict[str, Tensor]]:
    """Return the CPU seconds of a training step, and the weights at the end."""
    seed_everything(1, verbose=False)
    head, clock = make_head(), EpochClock()
    callbacks: list[Any] = [clock] if maps is None else [clock, maps]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=3,
            limit_train_batches=steps,
            limit_val_batches=1,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(head, datamodule=data)
        drawn = len(list(Path(folder).glob("attention/*.png")))
    expected = 0 if maps is None or not isinstance(maps.examples, int) else 3 * maps.examples
    if drawn != expected:
        raise RuntimeError(f"a run must draw {expected} pictures, got {drawn}")
    return min(clock.seconds) / steps, {k: v.clone() for k, v in head.state_dict().items()}


def require_same(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check that two runs ended with the same weights, bit for bit.

    Raises:
        ValueError: if not: the race is void.
    """
    for key, value in expected.items():
        if not torch.equal(found[key], value):
            raise ValueError(
                f"weights of {name!r} must equal those without maps, got others: {key}"
            )


if __name__ == "__main__":
    main()
