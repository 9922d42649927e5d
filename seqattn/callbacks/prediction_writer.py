"""Writes predictions in input order, from one process or many."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from lightning.pytorch import LightningModule, Trainer

from seqattn.batch import SequenceBatch
from seqattn.callbacks.array_archive import ArrayArchive, merge_archives
from seqattn.callbacks.conllu_writer import conllu_block, require_tags, words_of
from seqattn.callbacks.quiet import QuietCallback
from seqattn.data.module import SequenceData
from seqattn.data.pieces import CutExample
from seqattn.errors import DataError
from seqattn.predictions import batch_states

Format = Literal["jsonl", "conllu"]


class PredictionWriter(QuietCallback):
    """Writes ``predictions.jsonl``, one ``{"key", "prediction"}`` per example, in input order.

    Every process writes what it predicts to a file of its own as it goes. At the end rank 0 reads
    the keys of the prediction set again, puts the parts in that order, checks that none is missing,
    joins the predictions of pieces, and renames the whole file into place: a file that is there is
    complete.

    Args:
        format: ``conllu`` writes ``predictions.conllu`` too, tags in the column UPOS. Its tokens
            are the front-end's; a tab or line break inside one becomes a space.
        hidden_states: also write these encoder layers of each example to ``hidden_states.npz``,
            by key, as (number of layers, L, D); 0 is the encoder's input, -1 the last layer. Of a
            source predicted in pieces they are those of each piece, ``KEY at START s``.
    """

    def __init__(self, format: Format = "jsonl", hidden_states: list[int] | None = None) -> None:
        self.format = format
        self.hidden_states = hidden_states
        self._directory = Path()
        self._part: TextIO | None = None
        self._states: ArrayArchive | None = None
        self._words: dict[str, list[str]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what can be known beforehand, and open this process's part.

        Raises:
            ValueError: if the encoder has not such a layer, or there is no text for CoNLL-U.
            DataError: if two examples share a key, or a source has no words for CoNLL-U.
        """
        head: Any = pl_module
        cut = _cut_examples(trainer)
        require_distinct([part.example.key for part in cut or ()])
        require_distinct(_served_keys(cut or ()))
        if self.hidden_states is not None:
            _require_layers(self.hidden_states, len(head.encoder.layers))
        if self.format == "conllu":
            if cut is None:
                raise ValueError("format=conllu needs a SequenceData, got another data module")
            vectorizer = head.frontend.vectorizer
            self._words = {p.example.key: words_of(p.example, vectorizer) for p in cut}
        self._directory = Path(trainer.log_dir or trainer.default_root_dir)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._part = self._part_path(trainer.global_rank).open("w", encoding="utf-8")
        if self.hidden_states is not None:
            self._states = ArrayArchive(self._state_path(trainer.global_rank))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Sequence[Any],
        batch: SequenceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one line per sequence of the batch, and its hidden states.

        Raises:
            DataError: if CoNLL-U is wanted and a prediction is not one label per token.
        """
        assert self._part is not None
        for key, prediction in zip(batch.keys, outputs, strict=True):
            if self.format == "conllu":
                require_tags(key, self._words[key], prediction)
            self._part.write(_line(key, prediction))
        if self._states is not None:
            head: Any = pl_module
            for key, states in zip(
                batch.keys, batch_states(head, batch, self.hidden_states), strict=True
            ):
                self._states.write(key, states.float().numpy())

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge the parts on rank 0."""
        self._close()
        trainer.strategy.barrier("predictions")
        if trainer.is_global_zero:
            self._merge(trainer, pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the parts; they stay, and no file that looks complete."""
        self._close()

    def _close(self) -> None:
        for file in (self._part, self._states):
            if file is not None:
                file.close()
        self._part = self._states = None

    def _merge(self, trainer: Trainer, model: LightningModule) -> None:
        parts = [self._part_path(rank) for rank in range(trainer.world_size)]
        found = {row["key"]: row["prediction"] for part in parts for row in _rows(part)}
        served, keys = list(found), list(found)
        cut = _cut_examples(trainer)
        if cut is not None:
            served = _served_keys(cut)
            keys = [part.example.key for part in cut]
        require_complete(served, list(found))
        found = found if cut is None else join_predictions(cut, found, model)
        _write(self._directory / "predictions.jsonl", (_line(key, found[key]) for key in keys))
        if self.format == "conllu":
            blocks = (conllu_block(key, self._words[key], found[key]) for key in keys)
            _write(self._directory / "predictions.conllu", blocks)
        if self.hidden_states is not None:
            states = [self._state_path(rank) for rank in range(trainer.world_size)]
            merge_archives(states, served, self._directory / "hidden_states.npz")
        for part in parts:
            part.unlink()

    def _part_path(self, rank: int) -> Path:
        return self._directory / f"predictions.{rank}.part"

    def _state_path(self, rank: int) -> Path:
        return self._directory / f"hidden_states.{rank}.part"


def require_distinct(keys: Sequence[str]) -> None:
    """Check that no two examples share a key.

    Raises:
        DataError: naming a key that occurs twice.
    """
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise DataError("keys of the prediction set must differ, got this one twice", key=key)
        seen.add(key)


def require_complete(expected: Sequence[str], found: Sequence[str]) -> None:
    """Check that every example has exactly one prediction.

    Raises:
        DataError: naming a key that occurs twice, is missing, or belongs to no example.
    """
    require_distinct(expected)
    known, predicted = set(expected), set(found)
    for key in expected:
        if key not in predicted:
            raise DataError("every example must be predicted, this one was not", key=key)
    for key in found:
        if key not in known:
            raise DataError("a prediction must belong to an example of the set", key=key)


def join_predictions(
    cut: Sequence[CutExample], found: Mapping[str, Any], model: object
) -> dict[str, Any]:
    """Return one prediction for each example, by its key.

    Args:
        cut: the examples, whole or in pieces.
        found: the prediction of each whole example and of each piece, by key.
        model: which joins those of pieces.
    """
    return {
        part.example.key: part.join(model, [found[example.key] for example in part.examples])
        for part in cut
    }


def _require_layers(layers: Sequence[int], depth: int) -> None:
    for layer in layers:
        if not -depth - 1 <= layer <= depth:
            raise ValueError(
                f"hidden_states must list layers in {-depth - 1} … {depth}, got {layer}"
            )


def _cut_examples(trainer: Trainer) -> list[CutExample] | None:
    """Return the examples in input order, with their pieces; None of a stranger's data module."""
    data = getattr(trainer, "datamodule", None)
    return data.cut_examples() if isinstance(data, SequenceData) else None


def _served_keys(cut: Sequence[CutExample]) -> list[str]:
    return [example.key for part in cut for example in part.examples]


def _line(key: str, prediction: Any) -> str:
    return json.dumps({"key": key, "prediction": prediction}, ensure_ascii=False) + "\n"


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
