"""What a run says while it goes on, and the validation that a cut-short run still owes."""

from __future__ import annotations

import sys

from lightning.pytorch import LightningModule, Trainer

from seqattn.callbacks.quiet import QuietCallback


class ValidationLines(QuietCallback):
    """Prints the model's size at the start and one line of metrics per validation."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is trained, and where it writes."""
        directory = trainer.log_dir  # asks every process, so every process must ask
        if trainer.is_global_zero:
            count = sum(parameter.numel() for parameter in pl_module.parameters())
            name = type(pl_module).__name__
            print(f"{name} with {count:,} parameters, run directory {directory}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the validation metrics and the last training loss."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or not trainer.is_global_zero:
            return
        names = ("train/loss", *sorted(filter(is_of_validation, trainer.logged_metrics)))
        found = {name: trainer.callback_metrics.get(name) for name in names}
        cells = [f"{name} {float(value):.4f}" for name, value in found.items() if value is not None]
        line = f"epoch {trainer.current_epoch}  step {trainer.global_step}  {'  '.join(cells)}"
        bar = trainer.progress_bar_callback
        bar.print(line) if bar is not None else print(line)
        sys.stdout.flush()


class FinalValidation(QuietCallback):
    """Validates once more where training stops between two validations.

    `max_steps` and `max_time` stop a run anywhere; without this the last weights would be neither
    measured nor saved.
    """

    def __init__(self) -> None:
        self._validated_step = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember which weights were measured."""
        if not trainer.sanity_checking:
            self._validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the Trainer's own validation loop, and with it the callbacks that save."""
        loop = trainer.fit_loop.epoch_loop.val_loop
        if self._validated_step == trainer.global_step or not trainer.enable_validation:
            return
        trainer.validating = True
        loop.run()
        trainer.training = True


def is_of_validation(name: str) -> bool:
    """Return whether a metric is of a validation; several heads put their names in front."""
    return "val" in name.split("/")[:-1]
