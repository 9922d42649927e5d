"""What data modules of ours have in common: exact resume, and their own sharing out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from seqattn.data.epochs import EpochSampler
from seqattn.data.resume import convert_position, next_epoch, resume_training, training_position


class ResumableData(LightningDataModule, ABC):
    """Serves batches that its own sampler shares out, and goes on with the very next one.

    Args:
        workers: processes that make batches; 0 to make them in the training process.
        seed: of order and augmentation; by default that of ``seed_everything``, else 0.

    Raises:
        ValueError: if `workers` is negative.
    """

    def __init__(self, workers: int, seed: int | None) -> None:
        super().__init__()
        if workers < 0:
            raise ValueError(f"workers must not be negative, got {workers}")
        self.workers = workers
        self.seed = seed
        self._train_sampler: EpochSampler[Any] | None = None
        self._resumed: dict[str, Any] | None = None
        self._trainer_shares_out: bool | None = None

    @abstractmethod
    def make_sampler(self, split: str) -> EpochSampler[Any]:
        """Return the sampler of this process for a split."""

    @abstractmethod
    def make_loader(self, split: str, sampler: EpochSampler[Any]) -> DataLoader[Any]:
        """Return the loader of a split."""

    @abstractmethod
    def fingerprint(self) -> dict[str, int | str]:
        """Return all that the list of training micro-batches depends on."""

    @property
    def train_sampler(self) -> EpochSampler[Any]:
        """The sampler of the training examples, one for all epochs."""
        if self._train_sampler is None:
            self._train_sampler = self.make_sampler("train")
        return self._train_sampler

    @property
    def batches_per_epoch(self) -> int:
        """Micro-batches of every training epoch in this process, before any limit of Trainer."""
        return len(self.train_sampler)

    def setup(self, stage: str) -> None:
        """Switch ``Trainer(use_distributed_sampler)`` off until teardown.

        The sampler has shared out the batches already; Lightning would repeat some to share them
        out, and can wrap no batch sampler but torch's own.
        """
        self._train_sampler = None
        if self.trainer is not None and self._trainer_shares_out is None:
            connector = self.trainer._accelerator_connector
            self._trainer_shares_out = connector.use_distributed_sampler
            connector.use_distributed_sampler = False

    def teardown(self, stage: str) -> None:
        """Give the trainer its own setting back."""
        if self.trainer is not None and self._trainer_shares_out is not None:
            connector = self.trainer._accelerator_connector
            connector.use_distributed_sampler = self._trainer_shares_out
            self._trainer_shares_out = None

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches, from where the checkpoint left off.

        Raises:
            DataError: if an example of training is too long.
            ValueError: if the checkpoint was written in the middle of other data.
        """
        sampler = self.train_sampler
        if self._resumed is None:
            # not left to Lightning: it sets the epoch after workers began to fetch ahead
            epochs: Any = self._attached.fit_loop.epoch_progress
            sampler.set_epoch(epochs.current.processed)
        else:
            self._resume(self._resumed, sampler)
            self._resumed = None
        return self.make_loader("train", sampler)

    def state_dict(self) -> dict[str, Any]:
        """Return where training is in its data, and which data, as plain data."""
        if self._train_sampler is None:
            return {}
        epoch, batches = training_position(self._attached)
        return {
            "epoch": epoch,
            "batches": batches,
            "batches_per_epoch": int(self._attached.num_training_batches),
            "world_size": self._train_sampler.world_size,
            "data": self.fingerprint(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a checkpoint's state, which matters to `fit` only."""
        self._resumed = state_dict if self._attached.state.fn == "fit" else None

    @property
    def _attached(self) -> Trainer:
        if self.trainer is None:
            raise ValueError("trainer must be attached, got None: give the data module to one")
        return self.trainer

    @property
    def _seed_in_force(self) -> int:
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed

    @property
    def _pins_memory(self) -> bool:
        return self._attached.strategy.root_device.type == "cuda"

    def _resume(self, state: dict[str, Any], sampler: EpochSampler[Any]) -> None:
        then, now = state["data"], self.fingerprint()
        changes = [
            f"{name} = {value}, not {then.get(name)}"
            for name, value in now.items()
            if value != then.get(name)
        ]
        position = (state["epoch"], state["batches"])
        if changes:
            position = next_epoch(position, state.get("batches_per_epoch"), "; ".join(changes))
        position = convert_position(position, state["world_size"], sampler)
        resume_training(self._attached, sampler, position)
