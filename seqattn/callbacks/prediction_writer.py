"""Writes predictions in input order, from one process or many."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from seqattn.batch import Example, SequenceBatch
from seqattn.callbacks.quiet import QuietCallback
from seqattn.data.module import SequenceData
from seqattn.errors import DataError
from seqattn.predictions import batch_states

Format = Literal["jsonl", "conllu"]


class PredictionWriter(QuietCallback):
    """Writes ``predictions.jsonl``, one ``{"key", "prediction"}`` per example, in input order.

    Every process writes what it predicts to a file of its own as it goes. At the end rank 0 reads
    the keys of the prediction set again, puts the parts in that order, checks that none is missing,
    and renames the whole file into place: a file that is there is complete.

    Args:
        format: ``conllu`` writes ``predictions.conllu`` too, tags in the column UPOS.
        hidden_states: also write these encoder layers of each example to ``hidden_states.npz``,
            by key, as (number of layers, L, D); 0 is the encoder's input, -1 the last layer.
    """

    def __init__(self, format: Format = "jsonl", hidden_states: list[int] | None = None) -> None:
        self.format = format
        self.hidden_states = hidden_states
        self._directory = Path()
        self._part: Any = None
        self._states: dict[str, Any] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open this process's part."""
        self._directory = Path(trainer.log_dir or trainer.default_root_dir)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._part = self._part_path(trainer.global_rank).open("w", encoding="utf-8")
        self._states = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Sequence[Any],
        batch: SequenceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one line per sequence of the batch."""
        for key, prediction in zip(batch.keys, outputs, strict=True):
            row = {"key": key, "prediction": prediction}
            self._part.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self.hidden_states is not None:
            head: Any = pl_module
            states = batch_states(head, batch, self.hidden_states)
            self._states |= dict(zip(batch.keys, map(_to_numpy, states), strict=True))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge the parts on rank 0."""
        self._part.close()
        if self.hidden_states is not None:
            np.savez(self._state_path(trainer.global_rank), **self._states)
            self._states = {}
        trainer.strategy.barrier("predictions")
        if trainer.is_global_zero:
            self._merge(trainer)

    def _merge(self, trainer: Trainer) -> None:
        parts = [self._part_path(rank) for rank in range(trainer.world_size)]
        found = {row["key"]: row["prediction"] for part in parts for row in _rows(part)}
        examples = list(_predict_examples(trainer, list(found)))
        require_complete([example.key for example in examples], list(found))
        lines = (
            json.dumps({"key": e.key, "prediction": found[e.key]}, ensure_ascii=False) + "\n"
            for e in examples
        )
        _write(self._directory / "predictions.jsonl", lines)
        if self.format == "conllu":
            blocks = (conllu_block(example, found[example.key]) for example in examples)
            _write(self._directory / "predictions.conllu", blocks)
        if self.hidden_states is not None:
            self._merge_states(trainer, [example.key for example in examples])
        for part in parts:
            part.unlink()

    def _merge_states(self, trainer: Trainer, keys: Sequence[str]) -> None:
        paths = [self._state_path(rank) for rank in range(trainer.world_size)]
        files = [np.load(path) for path in paths]
        merged = {key: next(file[key] for file in files if key in file) for key in keys}
        np.savez(self._directory / "hidden_states.part.npz", **merged)
        os.replace(
            self._directory / "hidden_states.part.npz", self._directory / "hidden_states.npz"
        )
        for path in paths:
            path.unlink()

    def _part_path(self, rank: int) -> Path:
        return self._directory / f"predictions.{rank}.part"

    def _state_path(self, rank: int) -> Path:
        return self._directory / f"hidden_states.{rank}.npz"


def require_complete(expected: Sequence[str], found: Sequence[str]) -> None:
    """Check that every example has exactly one prediction.

    Raises:
        DataError: naming a key that occurs twice, is missing, or belongs to no example.
    """
    seen: set[str] = set()
    for key in expected:
        if key in seen:
            raise DataError("keys of the prediction set must differ, got this one twice", key=key)
        seen.add(key)
    predicted = set(found)
    for key in expected:
        if key not in predicted:
            raise DataError("every example must be predicted, this one was not", key=key)
    for key in found:
        if key not in seen:
            raise DataError("a prediction must belong to an example of the set", key=key)


def conllu_block(example: Example, tags: Sequence[str]) -> str:
    """Return one CoNLL-U sentence with the tags in the column UPOS.

    Raises:
        DataError: if there is not one tag for each token.
    """
    source = example.source
    tokens = source.split() if isinstance(source, str) else list(source)
    if not isinstance(tags, list) or len(tags) != len(tokens):
        raise DataError(
            f"format=conllu needs one label per token, got {tags!r} for {len(tokens)} tokens",
            key=example.key,
        )
    rows = [f"# sent_id = {example.key}", f"# text = {' '.join(map(str, tokens))}"]
    for number, (token, tag) in enumerate(zip(tokens, tags, strict=True), start=1):
        rows.append("\t".join([str(number), str(token), "_", tag, *["_"] * 6]))
    return "\n".join(rows) + "\n\n"


def _predict_examples(trainer: Trainer, keys: Sequence[str]) -> Iterator[Example]:
    """Yield the examples in input order; of a stranger's data module, the keys as they came."""
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, SequenceData):
        return iter(data.examples("predict"))
    return iter([Example(None, key=key) for key in keys])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _write(path: Path, blocks: Iterator[str]) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(blocks)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _to_numpy(states: Tensor) -> Any:
    return states.float().numpy()
