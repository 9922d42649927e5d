"""A head that computes next to nothing, its data, and a clock: for what a step costs besides."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seqattn import Encoder, FrontEnd, SequenceBatch, TaskHead
from seqattn.heads.output import Loss, Output
from seqattn.vectorizer import Vectorized, Vectorizer


class NumberVectorizer(Vectorizer):
    """Turns a list of numbers into one column; there is nothing to fit."""

    @property
    def is_fitted(self) -> bool:
        """Always."""
        return True

    def fit(self, sources: Iterable[Any]) -> None:
        """Do nothing."""

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the numbers as they are. Shape: (L, 1)."""
        return Vectorized(torch.tensor(raw)[:, None])

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, 1)."""
        return torch.empty(0, 1)

    def length(self, raw: Any) -> int:
        """Return L."""
        return len(raw)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take nothing."""


class NumberFrontEnd(FrontEnd):
    """Hands numbers on."""

    def __init__(self) -> None:
        super().__init__()
        self.vectorizer = NumberVectorizer()

    def build(self, dim: int) -> None:
        """Make nothing."""

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch as it is. Shape: batch.values (T, 1)."""
        return batch


class TrivialHead(TaskHead):
    """One parameter times the input, whose square is the loss; the encoder rests."""

    def __init__(self) -> None:
        encoder = Encoder(1, 1, 1, mixer="none")
        super().__init__(NumberFrontEnd(), encoder, warmup_steps=10)
        self.encoder.requires_grad_(False)

    def make_target_vectorizer(self) -> None:
        """Return none: there are no targets."""

    def build_output(self, dim: int) -> nn.Module:
        """Return the one parameter, 1 at first."""
        output = nn.Linear(1, 1, bias=False)
        nn.init.ones_(output.weight)
        return output

    def forward(self, batch: SequenceBatch) -> Output:
        """Return the product. Shape: batch.values (T, 1)."""
        x = batch.values * self.output.weight
        return Output(x, batch.offsets, x, batch)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the squares."""
        values = output.logits[:, 0].square()
        return Loss(values, torch.ones_like(values))

    def decode(self, output: Output, batch: SequenceBatch) -> list[list[float]]:
        """Return the products of each sequence."""
        return [
            part[:, 0].tolist() for part in torch.split(output.logits, list(batch.packing.lengths))
        ]


class ReadyBatches(LightningDataModule):
    """The same few batches again and again, made before the clock runs.

    Args:
        steps: batches of an epoch.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[SequenceBatch]:
        """Return a loader of batches of four numbers."""
        generator = torch.Generator().manual_seed(1)
        made = [SequenceBatch.from_list([torch.rand(4, 1, generator=generator)]) for _ in range(8)]
        batches = [made[step % 8] for step in range(self.steps)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list will do


class StepClock(Callback):
    """Reads the process's CPU time after a number of steps and after the last one.

    Args:
        warmup: steps before the clock starts.
    """

    results: dict[str, Tensor | float] = {}
    """What the last run left: `seconds` between the two, and the `weight`."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        if batch_idx == self.warmup:
            self._started = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it, before any checkpoint is written."""
        seconds = time.process_time() - self._started
        weight = pl_module.get_parameter("output.weight").detach().clone()
        StepClock.results = {"seconds": seconds, "weight": weight}
