"""A logger that is one CSV file, one row per logged step."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class MetricsFile(Logger):
    """Keeps ``metrics.csv`` in a run's directory; the file is there from the beginning.

    What is logged for one step between two calls of :meth:`save`, which Lightning makes every
    `log_every_n_steps`, shares a row. A new column rewrites the file.

    Args:
        directory: the run's; it exists.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.path = directory / "metrics.csv"
        self._columns = ["step"]
        self._rows: dict[int, dict[str, str]] = {}
        self._write_header()

    @property
    def name(self) -> str:
        """Empty: the run's directory is the only level."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the run's directory is the only level."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's directory."""
        return os.fspath(self.directory)

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return os.fspath(self.directory)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        row = self._rows.setdefault(0 if step is None else step, {})
        row.update({name: f"{float(value):.8g}" for name, value in metrics.items()})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Do nothing: the run's directory holds ``resolved.yaml``."""

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that were logged since the last call."""
        new = [name for row in self._rows.values() for name in row if name not in self._columns]
        if new:
            self._columns += sorted(set(new))
            self._rewrite()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            for step, row in sorted(self._rows.items()):
                writer.writerow({"step": step, **row})
        self._rows.clear()

    @rank_zero_only
    def _write_header(self) -> None:
        with self.path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(self._columns)

    def _rewrite(self) -> None:
        """Give the rows in the file the new columns."""
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        part = self.path.with_name("metrics.csv.part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, self.path)
