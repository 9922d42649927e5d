"""The checkpoint to use, the one to go on from, and the mean of the last ones."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from seqattn.callbacks.quiet import QuietCallback


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``; a resumed run takes over the best of the run that it goes on from.

    Args:
        directory: where the file lies.
        monitor: the metric that decides; None keeps the newest.
        mode: whether a lower or a higher value is better.
    """

    def __init__(self, directory: Path, monitor: str | None, mode: Literal["min", "max"]) -> None:
        super().__init__(
            directory,
            "best",
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
            save_on_train_epoch_end=False if monitor else None,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the earlier run's best checkpoint here, with its score."""
        assert self.dirpath is not None
        own, old = Path(self.dirpath) / "best.ckpt", Path(state_dict["best_model_path"])
        if not old.is_file():
            return
        _copy(old, own)
        self.best_model_path = self.kth_best_model_path = str(own)
        self.best_model_score = self.kth_value = state_dict["best_model_score"]
        self.best_k_models = {str(own): state_dict["best_model_score"]}


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: after each validation, and when the user interrupts the run.

    What an error leaves may hold NaN or a half-done step: it is kept as ``on_exception.ckpt``,
    which nothing goes on from unless its path is given.

    Args:
        directory: where the file lies.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory, "last", save_on_exception=True, save_top_k=1, enable_version_counter=False
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take nothing over: the earlier run's file stays what that run goes on from."""

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save ``last.ckpt`` for an interrupt, and ``on_exception.ckpt`` for an error."""
        if isinstance(exception, Exception):
            self.filename = "on_exception"
        super().on_exception(trainer, pl_module, exception)


class AverageCheckpoint(QuietCallback):
    """Writes ``average.ckpt``: the mean of the weights after each of the last validations.

    The file is a checkpoint like any other for validate, test, predict and `seqattn.load`. It
    holds no optimiser, for a mean of weights is no state of training to go on from. The kept
    weights themselves are not in checkpoints: a resumed run begins to collect anew.

    Args:
        last: how many.

    Raises:
        ValueError: if `last` is below 1.
    """

    def __init__(self, last: int = 5) -> None:
        if last < 1:
            raise ValueError(f"last must be at least 1, got {last}")
        self._kept: deque[dict[str, Tensor]] = deque(maxlen=last)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights, on the host."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_global_zero:
            state = pl_module.state_dict()
            self._kept.append({name: value.detach().cpu().clone() for name, value in state.items()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the mean beside the other checkpoints."""
        if trainer.log_dir is None:
            return
        path = Path(trainer.log_dir) / "checkpoints" / "average.ckpt"
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=True)
        if trainer.is_global_zero and self._kept:
            checkpoint["state_dict"] = mean_state(list(self._kept))
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.strategy.save_checkpoint(checkpoint, path)


def mean_state(states: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Return the mean of each floating-point tensor; of any other the last."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in states[-1].items()
    }


@rank_zero_only
def _copy(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    part = new.with_name(f"{new.name}.part")
    shutil.copyfile(old, part)
    part.replace(new)
