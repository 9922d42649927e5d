"""The few lines that a command prints when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from seqattn.callbacks.best_metrics import BestMetrics


def print_metrics(metrics: Mapping[str, object]) -> None:
    """Print one aligned line per metric."""
    width = max((len(name) for name in metrics), default=0)
    for name, value in metrics.items():
        print(f"{name:<{width}}  {float(str(value)):.4f}")


def print_best(trainer: Trainer, directory: Path) -> None:
    """Print the best checkpoint's path and its metrics."""
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    kept = [found for found in callbacks if isinstance(found, BestMetrics)]
    checkpoint = trainer.checkpoint_callback
    path = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
    print(f"best checkpoint  {path or 'none'}")
    if kept and kept[0].values:
        print_metrics(kept[0].values)
    if not path:
        print(f"run directory  {directory}")
