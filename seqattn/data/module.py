"""The data of one task: readers in, packed batches out, and exact resume in mid-epoch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch.utils.data import DataLoader

from seqattn.batch import Example
from seqattn.collate import Collator
from seqattn.data.epochs import EpochSampler
from seqattn.data.loader import DrawnExamples, make_loader
from seqattn.data.measured import Measured
from seqattn.data.pieces import CutExample
from seqattn.data.readers.base import Reader
from seqattn.data.resumable import ResumableData
from seqattn.data.sampler import TokenBatchSampler
from seqattn.errors import DataError

log = logging.getLogger(__name__)

_SPLITS = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class SequenceData(ResumableData):
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
        predict: reader of the examples to predict. A long source (an hour of sound) is served in
            overlapping pieces, where the model joins their predictions.
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
        super().__init__(workers, seed)
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}")
        if too_long not in ("error", "drop"):
            raise ValueError(f"too_long must be 'error' or 'drop', got {too_long!r}")
        self.train = train
        self.val = val
        self.test = test
        self.predict = predict
        self.batch_tokens = batch_tokens
        self.too_long = too_long
        self.task: str | None = None
        self._examples: dict[str, list[Example]] = {}
        self._measured: dict[str, Measured] = {}
        self._cut: list[CutExample] = []

    def setup(self, stage: str) -> None:
        """Read the splits of a stage that are not read yet.

        Raises:
            ValueError: if the stage needs a split that was not given, or that is empty.
            DataError: if a file breaks its format.
        """
        super().setup(stage)
        self._measured.clear()  # another model may count tokens differently
        self._cut = []
        for split in _SPLITS[stage]:
            if (stage, split) != ("fit", "val") or self.val is not None:
                self.examples(split)

    def examples(self, split: str) -> list[Example]:
        """Return the examples of ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.

        An example without a key is given its number in the split.

        Raises:
            ValueError: if the split was not given or is empty.
            DataError: if a file breaks its format.
        """
        if split not in self._examples:
            self._examples[split] = self._read(split, getattr(self, split))
        return self._examples[split]

    def cut_examples(self) -> list[CutExample]:
        """Return the examples of ``"predict"``, each whole or in the pieces that are served.

        Raises:
            DataError: if a source breaks a rule; names its key.
        """
        if not self._cut:
            model, vectorizer = self._attached.lightning_module, self.collate.source
            examples = self.examples("predict")
            self._cut = [CutExample.of(example, vectorizer, model) for example in examples]
        return self._cut

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches, from where the checkpoint left off.

        Raises:
            DataError: if an example of training or validation is too long.
            ValueError: if the checkpoint was written in the middle of other data.
        """
        if self.val is not None:
            self.measured("val")
        return super().train_dataloader()

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation batches, longest first; nothing if there is no `val`."""
        return [] if self.val is None else self.make_loader("val", self.make_sampler("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches, longest first."""
        return self.make_loader("test", self.make_sampler("test"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches to predict, longest first."""
        # Lightning warns that a batch sampler of ours must return every example, as ours does.
        warnings.filterwarnings("ignore", message="You are using a custom batch sampler `TokenBat")
        return self.make_loader("predict", self.make_sampler("predict"))

    @property
    def global_batch_tokens(self) -> int:
        """Token budget of an optimiser step: of all processes and accumulated micro-batches."""
        trainer = self._attached
        return self.batch_tokens * trainer.world_size * trainer.accumulate_grad_batches

    def make_sampler(self, split: str) -> TokenBatchSampler:
        """Return the sampler of this process for a split."""
        trainer = self._attached
        return self.share(split, trainer.global_rank, trainer.world_size)

    def share(self, split: str, rank: int, world_size: int) -> TokenBatchSampler:
        """Return the sampler of any process for a split."""
        return TokenBatchSampler(
            self.measured(split).lengths,
            self.batch_tokens,
            seed=self._seed_in_force,
            shuffle=split == "train" and not getattr(self._attached, "overfit_batches", 0),
            rank=rank,
            world_size=world_size,
        )

    def make_loader(self, split: str, sampler: EpochSampler[Any]) -> DataLoader[Any]:
        """Return the loader of a split."""
        return make_loader(
            DrawnExamples(self.measured(split).examples),
            sampler,
            self.collate,
            workers=self.workers,
            pin_memory=self._pins_memory,
        )

    @property
    def collate(self) -> Collator:
        """The model's collator; of a joint model that of this task.

        Raises:
            TypeError: if the model has none.
        """
        model = self._attached.lightning_module
        collate = getattr(model, "collate", None)
        if self.task is not None and isinstance(collate, Mapping):
            collate = collate[self.task]
        if not isinstance(collate, Collator):
            raise TypeError(
                f"collate of {type(model).__name__} must be a seqattn.collate.Collator, which "
                f"makes batches of SequenceData's examples, got {type(collate).__name__}"
            )
        return collate

    def measured(self, split: str) -> Measured:
        """Return the examples of a split that are served, with the tokens that each takes.

        Raises:
            DataError: if one is too long, or cannot be measured; names its key.
            ValueError: if none is short enough.
        """
        if split not in self._measured:
            examples = self._served() if split == "predict" else self.examples(split)
            measured = Measured.of(examples, self.collate)
            self._measured[split] = self._treat_too_long(split, measured)
        return self._measured[split]

    def fingerprint(self) -> dict[str, int | str]:
        """Return all that the list of training micro-batches depends on."""
        measured = self.measured("train")
        return {
            "seed": self._seed_in_force,
            "batch_tokens": self.batch_tokens,
            "number of examples": len(measured.examples),
            "digest of keys and lengths": measured.digest(),
        }

    def _place(self, name: str) -> str:
        """Return the key of an argument in a config."""
        return f"data.{name}" if self.task is None else f"data.tasks.{self.task}.{name}"

    def _served(self) -> list[Example]:
        """Return what is predicted. Pieces have no targets, so the others leave theirs as well."""
        cut = self.cut_examples()
        if all(part.pieces is None for part in cut):
            return self.examples("predict")
        return [replace(example, target=None) for part in cut for example in part.examples]

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
                f"{measured.lengths[first]}{others}: raise {self._place('batch_tokens')}, or "
                f"leave such examples out of training with {self._place('too_long')} = drop",
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

    def _read(self, split: str, reader: Reader | None) -> list[Example]:
        if reader is None:
            place = self._place(split)
            raise ValueError(
                f"{split} must be a reader, got None: set {place} in the config, --{place} "
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
