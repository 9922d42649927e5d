"""The files of a run that say what it was: the configuration, as given and in full."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer

from seqattn.callbacks.quiet import QuietCallback


@dataclass(frozen=True)
class GivenConfig:
    """A run's configuration as text.

    Args:
        command: the command line.
        given: YAML of what the user gave.
        resolved: YAML of every value in force.
        parent: the checkpoint that the run goes on from; None for a fresh one.
    """

    command: str
    given: str
    resolved: str
    parent: str | None = None


class RunFiles(QuietCallback):
    """Writes ``config.yaml`` and ``resolved.yaml``, and flushes the loggers with each checkpoint.

    Args:
        directory: the run's.
        config: what is written.
    """

    def __init__(self, directory: Path, config: GivenConfig) -> None:
        self.directory = directory
        self.config = config
        self._is_written = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the files, on rank 0 and once; hand the resolved values to the loggers."""
        if self._is_written or not trainer.is_global_zero:
            return
        self._is_written = True
        head = f"# {self.config.command}\n"
        parent = f"# parent: {self.config.parent}\n" if self.config.parent else ""
        write_atomically(self.directory / "config.yaml", head + parent + self.config.given)
        write_atomically(self.directory / "resolved.yaml", head + parent + self.config.resolved)
        values = {**yaml.safe_load(self.config.resolved), "parent": self.config.parent}
        for logger in trainer.loggers:
            logger.log_hyperparams({"run_directory": str(self.directory), **values})

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write out what was logged up to this checkpoint."""
        for logger in trainer.loggers:
            logger.save()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is either whole or absent."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
