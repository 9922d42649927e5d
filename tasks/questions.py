"""What kind of answer does a question ask for? TREC, six coarse or fifty fine classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn import DataError, Example, Loss, Output, SequenceBatch, SequenceClassification
from seqattn.data import LabelledLines, Reader, Split
from seqattn.metrics import classification_metrics

ORIGIN = "https://github.com/harvardnlp/sent-conv-torch (data/TREC.train.all, as TREC.train)"

_TEST, _VAL = 500, 150


class Questions(Reader):
    """Questions with their class, split by seed, since the training file comes alone.

    Some questions occur twice in the file, and may so be in two splits.

    Args:
        path: the file ``TREC.train``.
        split: 500 questions are held out for ``test``, 150 of the others for ``val``.
        seed: decides which.
        fine: give the fine class, ``DESC:manner``, and not only ``DESC``.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        seed: int = 0,
        fine: bool = False,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        self.split = split
        lines = LabelledLines(path, label_separator=None if fine else ":", encoding="latin-1")
        held_out = Split(lines, "held_out", _TEST, seed=seed)
        rest = Split(lines, "train", _TEST, seed=seed)
        part: Literal["train", "held_out"] = "train" if split == "train" else "held_out"
        self.reader = held_out if split == "test" else Split(rest, part, _VAL, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the questions.

        Raises:
            DataError: if the file is missing or breaks the format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()


class QuestionClassification(SequenceClassification):
    """Learns the fine classes, and answers with the coarse one, ``DESC`` of ``DESC:manner``.

    The probability of a coarse class is the sum of its fine ones'. The loss is the cross-entropy
    of both; metrics and predictions are of the coarse class.
    """

    @property
    def coarse(self) -> list[str]:
        """The coarse classes."""
        return sorted({label.partition(":")[0] for label in self.labels})

    def build_metrics(self) -> MetricCollection:
        """Return accuracy and macro F1 over the coarse classes."""
        return classification_metrics(len(self.coarse))

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the sum of both cross-entropies."""
        fine = super().loss(output, batch)
        scores = self._coarse_scores(output.logits)
        picked = scores.gather(1, self._coarse_targets(batch).clamp(min=0)[:, None])[:, 0]
        return Loss(fine.values - picked, fine.weight)

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Count the coarse classes."""
        metrics.update(self._coarse_scores(output.logits).argmax(-1), self._coarse_targets(batch))

    def decode(self, output: Output, batch: SequenceBatch) -> list[dict[str, Any]]:
        """Return ``{"label", "scores"}`` of the coarse classes per question."""
        rows = self._coarse_scores(output.logits.float()).exp().tolist()
        found = [dict(zip(self.coarse, row, strict=True)) for row in rows]
        return [{"label": max(row, key=row.__getitem__), "scores": row} for row in found]

    def _owners(self) -> list[int]:
        """Return the number of each fine class's coarse class."""
        return [self.coarse.index(label.partition(":")[0]) for label in self.labels]

    def _coarse_scores(self, logits: Tensor) -> Tensor:
        """Return log-probabilities of the coarse classes. Shape: (B, fine) to (B, coarse)."""
        shares = logits.log_softmax(-1)
        owners = torch.tensor(self._owners(), device=logits.device)
        groups = [shares[:, owners == number] for number in range(len(self.coarse))]
        return torch.stack([group.logsumexp(-1) for group in groups], dim=-1)

    def _coarse_targets(self, batch: SequenceBatch) -> Tensor:
        """Return the coarse class of each target, -1 for one never seen. Shape: (B,)."""
        assert isinstance(batch.targets, Tensor)
        owners = torch.tensor([*self._owners(), -1], device=batch.targets.device)
        return owners[batch.targets]
