"""A label, several labels, or a number for every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.heads.base import LayerChoice, Monitor, TaskHead
from seqattn.heads.class_weights import ClassWeights, balance, require_class_weights
from seqattn.heads.output import Loss, Output, cross_entropy
from seqattn.heads.targets import (
    MultiLabelVectorizer,
    NumberVectorizer,
    SequenceLabelVectorizer,
    Unseen,
)
from seqattn.layers.dropout import Dropout
from seqattn.layers.encoder import Encoder
from seqattn.layers.pooling import PoolingName, SequencePooling
from seqattn.layers.slots import require_choice
from seqattn.metrics import classification_metrics, multilabel_metrics, regression_metrics
from seqattn.optim import Schedule
from seqattn.vectorizer import Piece, TargetVectorizer

Objective = Literal["single_label", "multi_label", "regression"]
_MONITORS: dict[str, Monitor] = {
    "single_label": ("val/accuracy", "max"),
    "multi_label": ("val/macro_f1", "max"),
    "regression": ("val/mae", "min"),
}


class SequenceClassification(TaskHead):
    """Gives every sequence one label, several labels, or a number.

    Metrics: accuracy and macro F1; for several labels also exact match; for a number mean absolute
    error and root mean square error, in the targets' own unit.

    Args:
        frontend: as in :class:`TaskHead`, and all that is not listed here.
        encoder: the shared encoder.
        objective: ``single_label`` (softmax), ``multi_label`` (a sigmoid per label), or
            ``regression`` (absolute error).
        pooling: how positions become one vector: ``mean``, ``max``, ``first`` or ``attention``.
        class_weights: weight of each label in the loss: a number by name (1 for those left out),
            or ``balanced``, inversely to its count in training.
        unseen_labels: what a label does at evaluation that training never had: count as ``wrong``,
            or be an ``error``.
        dropout: on the pooled vector.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        encoder: Encoder,
        *,
        objective: Objective = "single_label",
        pooling: PoolingName = "mean",
        class_weights: ClassWeights = None,
        unseen_labels: Unseen = "wrong",
        dropout: float = 0.1,
        layer: LayerChoice = "last",
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        require_choice("objective", objective, tuple(_MONITORS))
        require_class_weights(class_weights)
        if class_weights is not None and objective == "regression":
            raise ValueError(f"class_weights need labels, got {class_weights!r} for regression")
        self.objective: Objective = objective
        self.unseen_labels: Unseen = unseen_labels
        super().__init__(
            frontend,
            encoder,
            layer=layer,
            learning_rate=learning_rate,
            schedule=schedule,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            clip_norm=clip_norm,
            init_from=init_from,
        )
        self.class_weights = class_weights
        self.pooling = SequencePooling(encoder.dim, pooling)
        self.dropout = Dropout(dropout)

    @property
    def monitor(self) -> Monitor:
        """The first metric of the objective."""
        return _MONITORS[self.objective]

    def make_target_vectorizer(self) -> TargetVectorizer:
        """Return what turns the raw targets of this objective into tensors."""
        if self.objective == "regression":
            return NumberVectorizer()
        if self.objective == "multi_label":
            return MultiLabelVectorizer(self.unseen_labels)
        return SequenceLabelVectorizer(self.unseen_labels)

    @property
    def num_labels(self) -> int:
        """V; 1 for a number."""
        return 1 if self.objective == "regression" else len(self.labels)

    def build_metrics(self) -> MetricCollection:
        """Return the metrics of this objective."""
        if self.objective == "regression":
            return regression_metrics()
        if self.objective == "multi_label":
            return multilabel_metrics(self.num_labels)
        return classification_metrics(self.num_labels)

    def forward(self, batch: SequenceBatch) -> Output:
        """Return one row of logits per sequence."""
        hidden, inputs = self.encode(batch)
        pooled = self.dropout(self.pooling(hidden, inputs.packing))  # (B, D)
        rows = torch.arange(len(inputs) + 1, device=hidden.device)
        return Output(self.output(pooled), rows, hidden, inputs)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the loss of every sequence, by objective; unlabelled ones weigh 0."""
        loss = self._loss_of_all(output, batch)
        counted = batch.labelled_sequences
        if counted is not None:
            loss.weight = loss.weight * counted
        return loss

    def _loss_of_all(self, output: Output, batch: SequenceBatch) -> Loss:
        targets, logits = _targets(batch), output.logits
        weights = balance(self.class_weights, self.target_vectorizer, logits)
        if self.objective == "single_label":
            return cross_entropy(
                logits, targets, label_smoothing=self.label_smoothing, class_weights=weights
            )
        if self.objective == "multi_label":
            smooth = targets[:, :-1] * (1 - self.label_smoothing) + self.label_smoothing / 2
            each = F.binary_cross_entropy_with_logits(
                logits, smooth.to(logits.dtype), weight=weights, reduction="none"
            )
            return Loss(each.mean(-1), torch.ones_like(each[:, 0]))
        values = (logits[:, 0] - targets.to(logits.dtype)).abs()
        return Loss(values, torch.ones_like(values))

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Count the labelled sequences."""
        targets, logits = _targets(batch), output.logits
        counted = batch.labelled_sequences
        if counted is not None:
            targets, logits = targets[counted], logits[counted]
        if self.objective == "multi_label":
            metrics.update(logits, targets)
        elif self.objective == "single_label":
            metrics.update(logits.argmax(-1), targets)
        else:
            assert isinstance(self.target_vectorizer, NumberVectorizer)
            restore = self.target_vectorizer.restore
            metrics.update(restore(logits[:, 0]), restore(targets))

    def decode(self, output: Output, batch: SequenceBatch) -> list[dict[str, Any]]:
        """Return ``{"label", "scores"}`` per sequence; ``labels`` or ``value`` by objective.

        `scores` gives the probability of every label.
        """
        if self.objective == "regression":
            assert isinstance(self.target_vectorizer, NumberVectorizer)
            numbers = self.target_vectorizer.restore(output.logits[:, 0].float()).tolist()
            return [{"value": number} for number in numbers]
        logits = output.logits.float()
        single = self.objective == "single_label"
        rows = (logits.softmax(-1) if single else logits.sigmoid()).tolist()
        return [self._describe(dict(zip(self.labels, row, strict=True)), single) for row in rows]

    def join_pieces(self, pieces: Sequence[Piece], predictions: Sequence[Any]) -> dict[str, Any]:
        """Return the prediction of a source that was predicted in pieces: their mean, by length."""
        lengths = [piece.end - piece.start for piece in pieces]
        shares = [length / sum(lengths) for length in lengths]
        if self.objective == "regression":
            values = (found["value"] for found in predictions)
            return {"value": sum(s * value for s, value in zip(shares, values, strict=True))}
        rows = [found["scores"] for found in predictions]
        scores = {
            label: sum(share * row[label] for share, row in zip(shares, rows, strict=True))
            for label in self.labels
        }
        return self._describe(scores, self.objective == "single_label")

    @staticmethod
    def _describe(scores: dict[str, float], single: bool) -> dict[str, Any]:
        if single:
            return {"label": max(scores, key=scores.__getitem__), "scores": scores}
        return {"labels": [n for n, score in scores.items() if score > 0.5], "scores": scores}


def _targets(batch: SequenceBatch) -> Tensor:
    targets: Any = batch.targets
    if not isinstance(targets, Tensor) or len(targets) != len(batch):
        raise ValueError("sequence classification needs a target for every sequence, got none")
    return targets
