"""How the outermost module of a run trains and evaluates, whatever its loss is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from seqattn.callbacks.reseed import Reseed
from seqattn.checkpoint import SavedHead, load
from seqattn.heads.run import total_steps
from seqattn.heads.step_totals import StepTotals
from seqattn.layers.slots import require_choice
from seqattn.optim import Schedule, clip_gradients, make_optimizer, make_scheduler
from seqattn.recorded import Recorded

Stage = Literal["train", "val", "test"]
Monitor = tuple[str, Literal["min", "max"]]


class TrainedModule(Recorded, LightningModule, ABC):
    """Steps, optimiser, logging and checkpoints; a subclass says what a step computes.

    The gradient of an optimiser step is that of the mean loss over all labelled items of all its
    micro-batches and processes. Only this module logs, so that several heads can share a run.

    Args:
        learning_rate: highest learning rate of AdamW.
        schedule: how it falls after the warm-up, per optimiser step.
        warmup_steps: optimiser steps of linear warm-up.
        weight_decay: decoupled, on matrices only.
        clip_norm: highest norm of the gradient; 0 leaves it as it is.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        schedule: Schedule,
        warmup_steps: int,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        super().__init__()
        _require_positive("learning_rate", learning_rate)
        require_choice("schedule", schedule, get_args(Schedule))
        if not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise ValueError(f"warmup_steps must be a whole number from 0 on, got {warmup_steps!r}")
        for name, number in (("weight_decay", weight_decay), ("clip_norm", clip_norm)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {number}")
        self.learning_rate = learning_rate
        self.schedule: Schedule = schedule
        self.warmup_steps = warmup_steps
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self._totals = self.make_totals()
        self._steps_logged = 0
        self._scheduler: LambdaLR | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Look for no parameter in the name that Lightning sets twice around every hook."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    @abstractmethod
    def monitor(self) -> Monitor:
        """The metric that chooses the best checkpoint, and its direction."""

    @abstractmethod
    def step(self, batch: Any, stage: Stage) -> Any:
        """Return the loss of one batch; update the metrics of an evaluation stage. Logs nothing."""

    @abstractmethod
    def stage_values(self, stage: Stage) -> dict[str, Tensor]:
        """Return loss and metrics of a stage by their logged names, and begin anew."""

    @abstractmethod
    def vectorizer_states(self) -> dict[str, Any]:
        """Return the fitted state of all vectorizers, as plain data."""

    @abstractmethod
    def restore_vectorizers(self, states: Mapping[str, Any]) -> Self:
        """Build the module to a checkpoint's vocabulary and labels, and return it."""

    def make_totals(self) -> StepTotals:
        """Return the bookkeeping of optimiser steps, at the beginning of training."""
        return StepTotals()

    def configure_callbacks(self) -> list[Callback]:
        """Reseed torch before every micro-batch, so that a plain Trainer resumes exactly too."""
        return [Reseed()]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return fused AdamW and its schedule per optimiser step."""
        fused = self.trainer.precision != "16-mixed"  # a fused step unscales too late to clip
        optimizer = make_optimizer(self, self.learning_rate, self.weight_decay, fused=fused)
        scheduler = make_scheduler(
            optimizer,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            total_steps=total_steps(self.trainer),
        )
        self._scheduler = scheduler
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_fit_start(self) -> None:
        """Leave evaluation mode, in which a loaded head comes and Lightning would keep it."""
        if not self.training:
            self.train()

    def on_train_start(self) -> None:
        """Let this run's learning rate and decay win over those that a checkpoint brought."""
        self._steps_logged = self.trainer.global_step
        self._totals = self.make_totals()
        scheduler = self._scheduler
        if scheduler is None:  # a subclass has an optimiser of its own
            return
        for index, group in enumerate(scheduler.optimizer.param_groups):
            scheduler.base_lrs[index] = group["initial_lr"] = self.learning_rate
            group["lr"] = self.learning_rate * scheduler.lr_lambdas[index](scheduler.last_epoch)
            group["weight_decay"] = self.weight_decay if group["weight_decay"] else 0.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the summed loss; gradients are divided by the count of the whole step."""
        total = self._totals.add(self.step(batch, "train"), batch.packing.total)
        return total * self.trainer.accumulate_grad_batches

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Turn the gradient of the summed loss into that of the mean over the whole step."""
        factor = self._totals.finish(self.trainer)
        gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
        torch._foreach_mul_(gradients, factor.to(gradients[0].device))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm, to the Trainer's value where it has one.

        Raises:
            ValueError: if the Trainer clips by value.
            FloatingPointError: if the gradient is not finite; on a GPU at the next log or save.
        """
        if gradient_clip_algorithm == "value":
            raise ValueError("gradient_clip_algorithm must be 'norm', got 'value'")
        limit = self.clip_norm if gradient_clip_val is None else gradient_clip_val
        norm = clip_gradients(_parameters(optimizer), limit or torch.inf)
        if self.trainer.precision == "16-mixed":  # its scaler leaves such a step out
            return
        if norm.device.type != "cpu":  # looked at when the device is waited for
            self._totals.add_norm(norm)
        elif not bool(norm.isfinite()):
            raise FloatingPointError(
                f"the gradient must be finite, got norm {float(norm)} "
                f"at optimiser step {self.trainer.global_step}"
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log every `log_every_n_steps` optimiser steps, and compute nothing in between."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set at runtime
        if self.trainer.global_step % max(every, 1) == 0:
            self._log_training()

    def on_train_epoch_end(self) -> None:
        """Log what an epoch, or a run, has left over."""
        self._log_training()

    def _log_training(self) -> None:
        """Log the mean over the optimiser steps since the last log, if there are any."""
        step = self.trainer.global_step
        if step == self._steps_logged:
            return
        self._steps_logged = step
        self._totals.require_finite(step)
        values = self._totals.log_values(self.trainer.world_size)
        values["train/learning_rate"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/loss", values.pop("train/loss"), prog_bar=True, batch_size=1)
        self.log_dict(values, batch_size=1)

    def on_validation_start(self) -> None:
        """Leave the validation's time out of the tokens per second."""
        self._totals.stop_clock()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate one batch."""
        self.step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate one batch."""
        self.step(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics over the whole validation set."""
        self._log_metrics("val")
        self._totals.start_clock()

    def on_test_epoch_end(self) -> None:
        """Log the metrics over the whole test set."""
        self._log_metrics("test")

    def _log_metrics(self, stage: Stage) -> None:
        self.log_dict(self.stage_values(stage), prog_bar=True, batch_size=1)

    # --- checkpoint -------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that is needed to make this module again: arguments, vocabulary, labels.

        Raises:
            FloatingPointError: if a gradient was not finite and has spoilt the weights, on a device
                that was not waited for until now.
        """
        self._totals.require_finite(self.trainer.global_step)
        checkpoint["seqattn"] = SavedHead.block_of(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Verify that the checkpoint belongs to a module like this one."""
        saved = SavedHead.from_checkpoint(checkpoint, "the checkpoint")
        saved.require_same_states(self)
        saved.require_same_weights(self)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str, map_location: str = "cpu", trust: str | Sequence[str] = ()
    ) -> Self:
        """Return the module of a checkpoint; :func:`seqattn.load` under Lightning's name."""
        trust = (trust,) if isinstance(trust, str) else trust
        found = load(checkpoint_path, trust=(cls.__module__, *trust), map_location=map_location)
        if not isinstance(found, cls):
            raise TypeError(f"{checkpoint_path} must hold a {cls.__name__}, got {type(found)}")
        return found


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """Return what is trained; faster than a walk over the modules, metrics among them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _require_positive(name: str, number: float) -> None:
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {number}")
