"""The data of one task: readers in, packed batches out, and exact resume in mid-epoch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset

from seqattn.batch import Example
from seqattn.collate import Collator
from seqattn.data.measured import Measured
from seqattn.data.readers.base import Reader
from seqattn.data.resume import convert_position, next_epoch, resume_training, training_position
from seqattn.data.sampler import Member, TokenBatchSampler
from seqattn.errors import DataError

log = logging.getLogger(__name__)

Drawn = tuple[Example, int | None]
"""An example with the draw of its augmentation."""

_SPLITS = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class SequenceData(LightningDataModule):
    """Reads examples and serves them as packed batches under a token budget.

    The model says how examples become a batch, and how many tokens each takes: its attribute
    `collate` is a :class:`~seqattn.collate.Collator`. The rest is the data module's: batches are
    shared out among processes without repeats or omissions, whatever
    ``Trainer(use_distributed_sampler)`` says, and ``fit(ckpt_path=…)`` goes on with the very next
    micro-batch.

    Args:
        train: reader of the training examples.
        val: reader of the validation examples; without, `fit` does not validate.
        test: reader of the test examples.
        predict: reader of the examples to predict.
        batch_tokens: budget of a micro-batch in one process, in positions.
        workers: processes that make batches; 0 to make them in the training process.
        seed: of order and augmentation; by default that of ``seed_everything``, else 0.
        too_long: what becomes of an example that exceeds `batch_tokens`. ``"error"`` refuses it
            before the first step. ``"drop"`` leaves it out of training and says how many; in
            validation and test it goes alone, as it always does in predict, for results must be
            complete.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        train: Reader | None = None,
        val: Reader | None = None,
        test: Reader | None = None,
        predict: Reader | None = None,
        batch_tokens: int = 4096,
        *,
        workers: int = 0,
        seed: int | None = None,
        too_long: Literal["error", "drop"] = "error",
    ) -> None:
        super().__init__()
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}")
        if workers < 0:
            raise ValueError(f"workers must not be negative, got {workers}")
        if too_long not in ("error", "drop"):
            raise ValueError(f"too_long must be 'error' or 'drop', got {too_long!r}")
        self.train = train
        self.val = val
        self.test = test
        self.predict = predict
        self.batch_tokens = batch_tokens
        self.workers = workers
        self.seed = seed
        self.too_long = too_long
        self._examples: dict[str, list[Example]] = {}
        self._measured: dict[str, Measured] = {}
        self._train_sampler: TokenBatchSampler | None = None
        self._resumed: dict[str, Any] | None = None
        self._trainer_shares_out: bool | None = None

    def setup(self, stage: str) -> None:
        """Read the splits of a stage that are not read yet.

        Raises:
            ValueError: if the stage needs a split that was not given, or that is empty.
            DataError: if a file breaks its format.
        """
        self._measured.clear()  # another model may count tokens differently
        self._train_sampler = None
        self._share_out_alone()
        for split in _SPLITS[stage]:
            if (stage, split) != ("fit", "val") or self.val is not None:
                self.examples(split)

    def teardown(self, stage: str) -> None:
        """Give the trainer its own setting back."""
        if self.trainer is not None and self._trainer_shares_out is not None:
            connector = self.trainer._accelerator_connector
            connector.use_distributed_sampler = self._trainer_shares_out
            self._trainer_shares_out = None

    def examples(self, split: str) -> list[Example]:
        """Return the examples of ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.

        An example without a key is given its number in the split.

        Raises:
            ValueError: if the split was not given or is empty.
            DataError: if a file breaks its format.
        """
        if split not in self._examples:
            self._examples[split] = _read(split, getattr(self, split))
        return self._examples[split]

    def train_dataloader(self) -> DataLoader[Drawn]:
        """Return shuffled batches, from where the checkpoint left off.

        Raises:
            DataError: if an example of training or validation is too long.
            ValueError: if the checkpoint was written in the middle of other data.
        """
        sampler = self._sampler("train")
        if self.val is not None:
            self._measure("val")
        if self._resumed is None:
            # not left to Lightning: it sets the epoch after workers began to fetch ahead
            epochs: Any = self._attached.fit_loop.epoch_progress
            sampler.set_epoch(epochs.current.processed)
        else:
            self._resume(self._resumed, sampler)
            self._resumed = None
        return self._loader("train", sampler)

    def val_dataloader(self) -> DataLoader[Drawn] | list[DataLoader[Drawn]]:
        """Return the validation batches, longest first; nothing if there is no `val`."""
        return [] if self.val is None else self._loader("val", self._sampler("val"))

    def test_dataloader(self) -> DataLoader[Drawn]:
        """Return the test batches, longest first."""
        return self._loader("test", self._sampler("test"))

    def predict_dataloader(self) -> DataLoader[Drawn]:
        """Return the batches to predict, longest first."""
        # Lightning warns that a batch sampler of ours must return every example, as ours does.
        warnings.filterwarnings("ignore", message="You are using a custom batch sampler `TokenBat")
        return self._loader("predict", self._sampler("predict"))

    @property
    def batches_per_epoch(self) -> int:
        """Micro-batches of every training epoch in this process, before any limit of Trainer."""
        return len(self._sampler("train"))

    @property
    def global_batch_tokens(self) -> int:
        """Token budget of an optimiser step: of all processes and accumulated micro-batches."""
        trainer = self._attached
        return self.batch_tokens * trainer.world_size * trainer.accumulate_grad_batches

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
            "data": self._fingerprint(self._train_sampler),
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
    def _collator(self) -> Collator:
        model = self._attached.lightning_module
        collate = getattr(model, "collate", None)
        if not isinstance(collate, Collator):
            raise TypeError(
                f"collate of {type(model).__name__} must be a seqattn.collate.Collator, which "
                f"makes batches of SequenceData's examples, got {type(collate).__name__}"
            )
        return collate

    def _share_out_alone(self) -> None:
        """Switch ``Trainer(use_distributed_sampler)`` off until teardown.

        The sampler has shared out the batches already; Lightning would repeat some to share them
        out, and can wrap no batch sampler but torch's own.
        """
        if self.trainer is not None and self._trainer_shares_out is None:
            connector = self.trainer._accelerator_connector
            self._trainer_shares_out = connector.use_distributed_sampler
            connector.use_distributed_sampler = False

    def _measure(self, split: str) -> Measured:
        if split not in self._measured:
            measured = Measured.of(self.examples(split), self._collator)
            self._measured[split] = self._treat_too_long(split, measured)
        return self._measured[split]

    def _treat_too_long(self, split: str, measured: Measured) -> Measured:
        fits = measured.lengths <= self.batch_tokens
        count = int((~fits).sum())
        if count == 0 or split == "predict":
            return measured
        if self.too_long == "error":
            first = int(fits.argmin())
            others = f", and {count - 1} more of {split} are too long" if count > 1 else ""
            raise DataError(
                f"length must be at most batch_tokens = {self.batch_tokens}, got "
                f"{measured.lengths[first]}{others}: raise data.batch_tokens, or leave such "
                "examples out of training with data.too_long = drop",
                key=measured.examples[first].key,
            )
        if split != "train":
            return measured
        if not fits.any():
            raise ValueError(
                f"batch_tokens must fit at least one training example, got {self.batch_tokens} "
                f"where the shortest has {measured.lengths.min()}"
            )
        log.info(
            "dropped %d of %d training examples, which are longer than batch_tokens = %d",
            count,
            len(fits),
            self.batch_tokens,
        )
        return measured.only(fits)

    def _sampler(self, split: str) -> TokenBatchSampler:
        if split == "train" and self._train_sampler is not None:
            return self._train_sampler
        trainer = self._attached
        sampler = TokenBatchSampler(
            self._measure(split).lengths,
            self.batch_tokens,
            seed=int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed,
            shuffle=split == "train" and not getattr(trainer, "overfit_batches", 0),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        if split == "train":
            self._train_sampler = sampler
        return sampler

    def _loader(self, split: str, sampler: TokenBatchSampler) -> DataLoader[Drawn]:
        if self.workers:  # tokenizers warn, or hang, in forked processes
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return _ResumableLoader(
            _DrawnExamples(self._measure(split).examples),
            batch_sampler=sampler,
            collate_fn=self._collator,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self._attached.strategy.root_device.type == "cuda",
        )

    def _resume(self, state: dict[str, Any], sampler: TokenBatchSampler) -> None:
        then, now = state["data"], self._fingerprint(sampler)
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

    def _fingerprint(self, sampler: TokenBatchSampler) -> dict[str, int | str]:
        """Return all that the list of micro-batches depends on."""
        measured = self._measure("train")
        return {
            "seed": sampler.seed,
            "batch_tokens": sampler.batch_tokens,
            "number of examples": len(measured.examples),
            "digest of keys and lengths": measured.digest(),
        }


def _read(split: str, reader: Reader | None) -> list[Example]:
    if reader is None:
        raise ValueError(
            f"{split} must be a reader, got None: set data.{split} in the config, --data.{split} "
            f"on the command line, or SequenceData({split}=…)"
        )
    examples = [
        example if example.key else replace(example, key=str(number))
        for number, example in enumerate(reader.read())
    ]
    if not examples:
        raise ValueError(
            f"{split} must hold at least one example, got none from {type(reader).__name__}"
        )
    return examples


class _DrawnExamples(Dataset[Drawn]):
    """Gives the sampler's examples with their draws."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __getitem__(self, member: Member) -> Drawn:
        index, draw = member
        return self.examples[index], draw

    def __len__(self) -> int:
        return len(self.examples)


class _ResumableLoader(DataLoader[Drawn]):
    """A loader that Lightning knows to be resumable by these methods; the module has the state."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the empty state."""
