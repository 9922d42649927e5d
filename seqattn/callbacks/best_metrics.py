"""The metrics of the best checkpoint."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from seqattn.callbacks.progress import is_of_validation
from seqattn.callbacks.quiet import QuietCallback


class BestMetrics(QuietCallback):
    """Keeps the validation metrics of the best checkpoint; a resumed run knows them.

    They are those of the monitored metric's best value, or of the last validation without one.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._score: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the metrics of an earlier run whose best checkpoint is gone."""
        checkpoint = trainer.checkpoint_callback
        if isinstance(checkpoint, ModelCheckpoint) and not checkpoint.best_model_path:
            self.values, self._score = {}, None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the metrics over if this validation is the best so far."""
        checkpoint = trainer.checkpoint_callback
        if trainer.sanity_checking or not isinstance(checkpoint, ModelCheckpoint):
            return
        metrics = trainer.callback_metrics
        now = {n: float(value) for n, value in metrics.items() if is_of_validation(n)}
        score = now.get(checkpoint.monitor or "")
        sign = 1.0 if checkpoint.mode == "max" else -1.0
        if score is None or self._score is None or sign * score > sign * self._score:
            self.values, self._score = now, score

    def state_dict(self) -> dict[str, Any]:
        """Return the metrics for the checkpoint."""
        return {"values": self.values, "score": self._score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the metrics of the run that this one goes on from."""
        self.values, self._score = dict(state_dict["values"]), state_dict["score"]
