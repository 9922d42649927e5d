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
        self._loaded: Path | None = None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note where the checkpoint lies; Lightning hands over the state after this."""
        self._loaded = Path(trainer.ckpt_path) if trainer.ckpt_path else None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the earlier run's best checkpoint here, with its score.

        It lies beside the loaded checkpoint, wherever the run has been moved since, or where it
        was written. Without the file the score is worth nothing and is dropped.
        """
        assert self.dirpath is not None
        own, written = Path(self.dirpath) / "best.ckpt", Path(state_dict["best_model_path"])
        beside = [self._loaded.with_name("best.ckpt")] if self._loaded and written.name else []
        old = next((path for path in (*beside, written) if path.is_file()), None)
        if old is None:
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
    """Writes ``average.ckpt``: the mean of the weights at the last validations and at the end.

    The file is a checkpoint like any other for validate, test, predict and `seqattn.load`. It
    holds no optimiser, for a mean of weights is no state of training to go on from. The kept
    weights themselves are not in checkpoints: a resumed run begins to collect anew. Running
    averages of batch normalisation are averaged too, which are not quite those of the mean weights.

    Args:
        last: how many.

    Raises:
        ValueError: if `last` is below 1.
    """

    def __init__(self, last: int = 5) -> None:
        if last < 1:
            raise ValueError(f"last must be at least 1, got {last}")
        self._kept: deque[dict[str, Tensor]] = deque(maxlen=last)
        self._kept_step = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights, on the host."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._keep(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the mean beside the other checkpoints."""
        directory = trainer.log_dir  # asks every process, so every process must ask
        if directory is None:
            return
        self._keep(trainer, pl_module)  # training may stop between two validations
        path = Path(directory) / "checkpoints" / "average.ckpt"
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=True)
        if trainer.is_global_zero and self._kept:
            checkpoint["state_dict"] = mean_state(list(self._kept))
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.strategy.save_checkpoint(checkpoint, path)

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of this step, once."""
        if not trainer.is_global_zero or self._kept_step == trainer.global_step:
            return
        self._kept_step = trainer.global_step
        state = pl_module.state_dict()
        self._kept.append({name: value.detach().cpu().clone() for name, value in state.items()})


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
