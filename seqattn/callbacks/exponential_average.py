"""A moving average of the weights that follows quickly at first."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class ExponentialAverage(WeightAveraging):
    """Validates and saves an exponential moving average of the weights.

    With a constant decay of 0.999 the average still holds 37 % of the first weights after 1,000
    steps. Here update n, from 0, keeps ``min(decay, (1 + n) / (10 + n))`` of it, which reaches
    0.999 at n = 8,990: the average forgets about as fast as training goes on.

    Args:
        decay: highest share of the average that one step keeps.

    Raises:
        ValueError: if `decay` does not lie in 0 … 1, 1 excluded.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in 0 … 1, 1 excluded, got {decay}")
        super().__init__(avg_fn=self._mean)
        self.decay = decay

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the average where the weights are: Lightning makes it before they move."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def _mean(self, average: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        """Return the average after `count` + 1 steps; of integers the newest."""
        if not average.is_floating_point():
            return new
        kept = torch.as_tensor((1 + count) / (10 + count), device=average.device)
        return torch.lerp(new, average, kept.clamp(max=self.decay).to(average.dtype))
