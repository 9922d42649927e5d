"""The callbacks that a run has unless the user's config brings one of the same class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden

from seqattn.callbacks.best_metrics import BestMetrics
from seqattn.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from seqattn.callbacks.progress import FinalValidation, ValidationLines
from seqattn.callbacks.run_files import GivenConfig, RunFiles
from seqattn.callbacks.wandb import WandbArtifacts, WandbTables
from seqattn.commands.loggers import WandbSettings
from seqattn.heads.trained_module import TrainedModule


def default_callbacks(
    command: str,
    *,
    given: dict[str, Any],
    head: TrainedModule,
    data: LightningDataModule,
    directory: Path,
    config: GivenConfig,
    patience: int | None,
    wandb: WandbSettings,
) -> list[Callback]:
    """Return what is added to the config's callbacks.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        given: the Trainer's arguments, with the config's callbacks.
        head: its monitor chooses the best checkpoint, if the data has a validation set.
        data: the data module.
        directory: the run's.
        config: written into it.
        patience: validations without a better value before training stops; None for never.
        wandb: the tables' size, and whether checkpoints are uploaded.

    Raises:
        ValueError: if there is patience and nothing to validate.
    """
    validates = has_validation(data) and given["limit_val_batches"] != 0
    if patience is not None and command == "fit" and not validates:
        raise ValueError(f"patience needs a validation set, got patience={patience} without one")
    monitor, mode = head.monitor
    found: list[Callback] = [RunFiles(directory, config)]
    if command == "fit":
        found += [FinalValidation(), ValidationLines(), WandbTables(wandb.samples), BestMetrics()]
    else:
        given["enable_checkpointing"] = False
    if command == "fit" and patience is not None:
        found.append(
            EarlyStopping(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)
        )
    keeps = given["enable_checkpointing"] is not False and not given["fast_dev_run"]
    if keeps and not _has(given["callbacks"], ModelCheckpoint):
        folder = directory / "checkpoints"
        found += [BestCheckpoint(folder, monitor if validates else None, mode)]
        found += [LastCheckpoint(folder)]
    if keeps and wandb.artifacts:
        found.append(WandbArtifacts(directory / "checkpoints"))
    if given["enable_progress_bar"] is None and not sys.stderr.isatty():
        given["enable_progress_bar"] = False
    return [callback for callback in found if not _has(given["callbacks"], type(callback))]


def has_validation(data: LightningDataModule) -> bool:
    """Return whether a data module gives validation batches."""
    if hasattr(data, "val"):
        return data.val is not None
    return is_overridden("val_dataloader", data)


def _has(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)
