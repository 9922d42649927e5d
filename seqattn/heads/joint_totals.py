"""Bookkeeping of one optimiser step of several tasks, each with a mean of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from seqattn.heads.output import Loss
from seqattn.heads.step_totals import StepTotals


class JointTotals(StepTotals):
    """Sums of one optimiser step by task, and of the steps since the last log.

    The gradient of a step is that of ``Σ weight · (sum of losses / count)`` over the tasks, where
    sum and count go over all labelled items of all micro-batches and processes. Since the tasks
    share parameters and their counts differ, no factor on the whole gradient makes that of it. The
    counts are known with the last micro-batch: its losses are divided by them before its backward
    pass. The gradients of the micro-batches before it, which exist where batches are accumulated
    only, wait for that apart from each other: one copy of the encoder's gradient per task.

    Args:
        weights: of each task.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)
        self._waiting: dict[str, dict[nn.Parameter, Tensor]] = {name: {} for name in weights}

    def add_tasks(self, losses: Mapping[str, Loss], tokens: int) -> list[Tensor]:
        """Count a micro-batch; return the summed loss of each task."""
        pairs = [losses[name].sums() for name in self.weights]
        sums = [total for total, _ in pairs]
        own = torch.stack([torch.stack(pair).detach() for pair in pairs], dim=1)  # (2, K)
        self._step = own if self._step is None else self._step + own
        self._tokens += tokens
        return sums

    def keep_gradients(self, task: str, module: nn.Module) -> None:
        """Put the gradients of one task's backward pass aside."""
        kept = self._waiting[task]
        for parameter in module.parameters():
            if parameter.grad is not None:
                old = kept.get(parameter)
                kept[parameter] = parameter.grad if old is None else old + parameter.grad
                parameter.grad = None

    def finish_tasks(self, trainer: Trainer) -> Tensor:
        """End the step before its last backward pass; return the factor of each task's sum (K,).

        The gradients that were put aside come back, multiplied by it.
        """
        counted = self.finish(trainer)  # (K,)
        factors = counted * counted.new_tensor(list(self.weights.values()))
        for kept, factor in zip(self._waiting.values(), factors, strict=True):
            for parameter, gradient in kept.items():
                scaled = gradient * factor.to(gradient)
                parameter.grad = scaled if parameter.grad is None else parameter.grad + scaled
            kept.clear()
        return factors

    def _mean_losses(self, sums: Tensor) -> dict[str, float]:
        """Return the weighted loss and that of each task. Shape: sums (2, K)."""
        rows = zip(self.weights, *sums.tolist(), strict=True)
        means = {name: total / count if count else 0.0 for name, total, count in rows}
        joint = sum(self.weights[name] * mean for name, mean in means.items())
        return {"train/loss": joint, **{f"{name}/train/loss": m for name, m in means.items()}}
