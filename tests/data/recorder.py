"""A model that writes down what it is shown, and its data: shared by the tests of this folder.

Run as a script it is one process of a distributed run: ``recorder.py DIRECTORY``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from seqattn import Example, SequenceBatch
from seqattn.collate import Collator
from seqattn.data.module import SequenceData
from seqattn.data.readers.base import Reader
from seqattn.vectorizer import Vectorized, Vectorizer

LENGTHS = [1 + i * 7 % 9 for i in range(45)]  # 13 micro-batches of at most 20 tokens
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Lengths(Reader):
    """Examples of given lengths, named ``"split:number"``."""

    def __init__(self, lengths: list[int], name: str = "train") -> None:
        self.lengths = lengths
        self.name = name

    def read(self) -> Iterator[Example]:
        for number, length in enumerate(self.lengths):
            yield Example(length, key=f"{self.name}:{number}" if self.name else "")


class Repeated(Vectorizer):
    """A number n as n positions that hold n, or what its draw makes of it."""

    is_fitted = True

    def fit(self, sources: Iterable[Any]) -> None: ...

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        return Vectorized(torch.full((raw,), float(raw + (draw or 0) % 97)))

    def empty(self) -> Tensor:
        return torch.empty(0)

    def length(self, raw: Any) -> int:
        if raw < 0:
            raise ValueError(f"raw must not be negative, got {raw}")
        return int(raw)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


class Recorder(LightningModule):
    """Records (stage, epoch, number, keys) of every batch; its weights depend on their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, int, int, tuple[str, ...]]] = []
        self.logger_steps: list[int] = []
        self.collate: Any = Collator(Repeated())

    def keys(self, stage: str) -> list[tuple[str, ...]]:
        """Return the keys of the batches of one stage."""
        return [keys for found, _, _, keys in self.seen if found == stage]

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        self._record("train", batch, batch_idx)
        self.logger_steps.append(self.trainer.fit_loop.epoch_loop._batches_that_stepped)
        return (self.weight * len(batch) - batch.values.sum() / 50) ** 2

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        self._record("val", batch, batch_idx)

    def test_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        self._record("test", batch, batch_idx)

    def predict_step(self, batch: SequenceBatch, batch_idx: int) -> list[float]:
        self._record("predict", batch, batch_idx)
        return [float(part.sum()) for part in batch.values.split(list(batch.packing.lengths))]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def _record(self, stage: str, batch: SequenceBatch, batch_idx: int) -> None:
        self.seen.append((stage, self.trainer.current_epoch, batch_idx, batch.keys))


def data(**arguments: Any) -> SequenceData:
    """Return 45 examples to train on and 5, in 3 micro-batches, of everything else."""
    readers = {name: Lengths([3, 19, 11, 5, 17], name) for name in ("val", "test", "predict")}
    given: dict[str, Any] = {"train": Lengths(LENGTHS), **readers, "batch_tokens": 20}
    return SequenceData(**given | arguments)


def _run_all_stages(directory: Path) -> None:
    """Fit, validate, test and predict on two processes, and write down what this one saw."""
    settings = QUIET | {"default_root_dir": directory, "devices": 2, "strategy": "ddp"}
    trainer = Trainer(**settings, max_epochs=2)  # with Lightning's own sharing out, its default
    model, module = Recorder(), data()
    trainer.fit(model, module)
    found: dict[str, Any] = {"weight": model.weight.item(), "trained": model.keys("train")}
    trainer.validate(model, module)
    trainer.test(model, module)
    trainer.predict(model, module, return_predictions=False)
    found["seen"] = model.seen
    found["shares_out"] = trainer._accelerator_connector.use_distributed_sampler

    trainer = Trainer(**settings, max_epochs=-1, max_steps=9)  # of 14
    trainer.fit(Recorder(), data())
    trainer.save_checkpoint(directory / "middle.ckpt")
    model, trainer = Recorder(), Trainer(**settings, max_epochs=2)
    trainer.fit(model, data(), ckpt_path=directory / "middle.ckpt")
    found |= {"resumed_weight": model.weight.item(), "resumed": model.keys("train")}
    (directory / f"{trainer.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    _run_all_stages(Path(sys.argv[1]))
