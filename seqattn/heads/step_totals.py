"""Bookkeeping of one optimiser step: what its mean loss is a mean over."""

from __future__ import annotations

import time

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from seqattn.heads.output import Loss


class StepTotals:
    """Sums of the micro-batches of one optimiser step, and of the steps since the last log.

    The gradient of a step is that of ``sum of losses / count`` over all labelled items of all its
    micro-batches and processes, however they are split.
    """

    def __init__(self) -> None:
        self._step: Tensor | None = None
        self._since_log: Tensor | None = None
        self._norms: Tensor | None = None
        self._tokens = 0
        self._started = self._stopped = time.perf_counter()

    def add(self, loss: Loss, tokens: int) -> Tensor:
        """Count a micro-batch; return its summed loss, to be multiplied by the accumulation."""
        total, weight = loss.sums()
        own = torch.stack([total.detach(), weight.detach()])
        self._step = own if self._step is None else self._step + own
        self._tokens += tokens
        return total

    def finish(self, trainer: Trainer) -> Tensor:
        """End the optimiser step; return the factor for its gradients, W / count, or 0 for none."""
        assert self._step is not None
        sums = self._step
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums, reduce_op="sum")
        self._since_log = sums if self._since_log is None else self._since_log + sums
        self._step = None
        return torch.where(sums[1] > 0, trainer.world_size / sums[1], 0.0)

    def add_norm(self, norm: Tensor) -> None:
        """Count the norm of a gradient without looking at it; infinity and NaN stay in the sum."""
        self._norms = norm if self._norms is None else self._norms + norm

    def require_finite(self, step: int) -> None:
        """Check all norms counted so far; waits for the device.

        Raises:
            FloatingPointError: if one was not finite.
        """
        if self._norms is not None and not bool(self._norms.isfinite()):
            raise FloatingPointError(
                f"the gradient must be finite, got norm {float(self._norms)} "
                f"before optimiser step {step}"
            )

    def log_values(self, world_size: int) -> dict[str, float]:
        """Return mean loss and tokens per second since the last call, and begin anew."""
        assert self._since_log is not None
        now = time.perf_counter()
        values = self._mean_losses(self._since_log)
        values["train/tokens_per_second"] = self._tokens * world_size / (now - self._started)
        self._since_log, self._tokens, self._started = None, 0, now
        return values

    def _mean_losses(self, sums: Tensor) -> dict[str, float]:
        """Return the mean of the losses by its logged name. Shape: sums (2,), losses and count."""
        total, count = sums.tolist()
        return {"train/loss": total / count if count else 0.0}

    def stop_clock(self) -> None:
        """Let the time from now on, that of a validation, not count."""
        self._stopped = time.perf_counter()

    def start_clock(self) -> None:
        """Let the time count again."""
        self._started += time.perf_counter() - self._stopped
