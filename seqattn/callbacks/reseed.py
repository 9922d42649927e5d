"""Exact resume: torch's generators are a function of where training is, not of its history."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from seqattn.callbacks.quiet import QuietCallback
from seqattn.seeds import derive_seed


class Reseed(QuietCallback):
    """Seeds torch before each micro-batch from the seed, the epoch and the micro-batch's number.

    The number counts the micro-batches of all processes, so that two processes draw what one
    process with two accumulated batches draws, and a resumed run what the straight one would.
    Nothing else in the library changes the state of the global generators.
    """

    def __init__(self) -> None:
        self._seed = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the seed of `seed_everything`; 0 without."""
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", 0))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the generators of every device."""
        number = batch_idx * trainer.world_size + trainer.global_rank
        seed = derive_seed(self._seed, trainer.current_epoch, number)
        torch.default_generator.manual_seed(seed)  # 1 µs; torch.manual_seed takes 100
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed(seed)
