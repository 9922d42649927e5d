"""A label for every position."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.heads.base import LayerChoice, Monitor, TaskHead
from seqattn.heads.class_weights import ClassWeights, balance, require_class_weights
from seqattn.heads.output import Loss, Output, cross_entropy
from seqattn.heads.segments import join_frames, join_segments
from seqattn.heads.targets import TokenLabelVectorizer, Unseen
from seqattn.layers.encoder import Encoder
from seqattn.metrics import SpanF1, classification_metrics, has_spans
from seqattn.optim import Schedule
from seqattn.vectorizer import Piece


class TokenLabeling(TaskHead):
    """Gives every position of a sequence one label.

    Targets are lists of label names. Where the front-end knows what a position is in seconds
    (its `output_seconds`; sound), they may list segments instead, (start, end, label), and
    predictions do; positions in no segment are labelled ``none``.

    Metrics: accuracy, macro F1 and, where the labels are BIO, strict span F1.

    Args:
        frontend: as in :class:`TaskHead`, and all that is not listed here.
        encoder: the shared encoder.
        class_weights: weight of each label in the loss: a number by name (1 for those left out),
            or ``balanced``, inversely to its count in training.
        unseen_labels: what a label does at evaluation that training never had: count as ``wrong``,
            or be an ``error``.

    Raises:
        ValueError: if a class weight is negative, or the front-end adds a position: one at the
            beginning, or a virtual node.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        encoder: Encoder,
        *,
        class_weights: ClassWeights = None,
        unseen_labels: Unseen = "wrong",
        layer: LayerChoice = "last",
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        require_class_weights(class_weights)
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
        if getattr(frontend.vectorizer, "begin", False):
            raise ValueError("token labeling needs a label for every position, got begin=True")
        if getattr(frontend, "virtual_node", False):
            raise ValueError(
                "token labeling needs a label for every position, got virtual_node=True"
            )

    @property
    def monitor(self) -> Monitor:
        """Span F1 for BIO labels, accuracy for others."""
        return ("val/span_f1" if has_spans(self.labels) else "val/accuracy", "max")

    def make_target_vectorizer(self) -> TokenLabelVectorizer:
        """Return label names to ids, one per position."""
        return TokenLabelVectorizer(self.unseen_labels)

    def build_metrics(self) -> MetricCollection:
        """Return accuracy, macro F1 and, for BIO labels, span F1."""
        metrics = classification_metrics(self.num_labels)
        if has_spans(self.labels):
            metrics.add_metrics({"span_f1": SpanF1(self.labels)})
        return metrics

    def forward(self, batch: SequenceBatch) -> Output:
        """Return one row of logits per position."""
        hidden, inputs = self.encode(batch)
        return Output(self.output(hidden), inputs.offsets, hidden, inputs)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the cross-entropy of every position; unlabelled ones weigh 0."""
        loss = cross_entropy(
            output.logits,
            _ids(batch),
            label_smoothing=self.label_smoothing,
            class_weights=balance(self.class_weights, self.target_vectorizer, output.logits),
        )
        if batch.labelled is not None:
            loss.weight = loss.weight * batch.labelled
        return loss

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Count the labelled positions."""
        predictions, targets, offsets = output.logits.argmax(-1), _ids(batch), output.offsets
        if batch.labelled is not None:
            kept = batch.labelled
            predictions, targets = predictions[kept], targets[kept]
            offsets = F.pad(kept.cumsum(0), (1, 0))[offsets]  # of the labelled positions
        metrics.update(predictions=predictions, targets=targets, offsets=offsets)

    def decode(self, output: Output, batch: SequenceBatch) -> list[list[Any]]:
        """Return the label names of every position of each sequence.

        Where the front-end knows what a position is in seconds, return segments instead, as
        [start, end, label]: runs of one label, those of ``none`` left out.
        """
        names = [self.labels[number] for number in output.logits.argmax(-1).tolist()]
        bounds = output.offsets.tolist()
        found: list[list[Any]] = [names[start:end] for start, end in pairwise(bounds)]
        seconds = getattr(self.frontend, "output_seconds", None)
        return found if seconds is None else [join_frames(labels, seconds) for labels in found]

    def join_pieces(self, pieces: Sequence[Piece], predictions: Sequence[Any]) -> list[list[Any]]:
        """Return the segments of a source that was predicted in overlapping pieces."""
        return join_segments(pieces, predictions)


def _ids(batch: SequenceBatch) -> Tensor:
    targets: Any = batch.targets
    if not isinstance(targets, Tensor):
        raise ValueError("token labeling needs a target for every position, got none in this batch")
    return targets
