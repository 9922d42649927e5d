"""Accuracy and F1 of one class per item."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn.metrics.counts import Counts, f1, mark_unseen, require_ids, share_states


def classification_metrics(num_labels: int) -> MetricCollection:
    """Return ``accuracy`` and ``macro_f1`` of class ids, from one table of counts."""
    return share_states({"accuracy": Accuracy(num_labels), "macro_f1": MacroF1(num_labels)})


class _ClassCounts(Counts):
    """For each of V classes: targets that were matched, times predicted, targets.

    A target that is no label, such as the id -1 of one that training never had, is counted under
    an extra class V that no prediction can match: it is always wrong.

    Args:
        num_labels: V.
        classes: the classes that the metric is about; all by default.
    """

    class_counts: Tensor

    def __init__(self, num_labels: int, classes: Sequence[int] | None = None) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.classes = None if classes is None else list(classes)
        empty = torch.zeros(3, num_labels + 1, dtype=torch.int64)
        self.add_state("class_counts", empty, dist_reduce_fx="sum")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count a batch of class ids.

        Shape:
            predictions: (N,) integers in 0 … V - 1.
            targets: (N,) integers; -1 is a label that training never had.

        Raises:
            ValueError: if they are not integers of one shape (N,).
        """
        require_ids(predictions, targets)
        predictions = mark_unseen(predictions, self.num_labels)
        targets = mark_unseen(targets, self.num_labels)
        matched = (predictions == targets) & (targets < self.num_labels)
        classes = self.num_labels + 1
        cells = torch.cat([targets, classes + predictions, 2 * classes + targets])  # (3N,)
        ones = torch.ones_like(targets)
        counts = torch.zeros_like(self.class_counts).flatten()
        # index_add_ and not bincount, which would wait for the GPU.
        counts.index_add_(0, cells, torch.cat([matched.long(), ones, ones]))
        self.class_counts = self.class_counts + counts.view(3, classes)

    def _chosen(self) -> Tensor:
        """Return the counts of the classes that are asked for. Shape: (3, C)."""
        return self.class_counts if self.classes is None else self.class_counts[:, self.classes]


class Accuracy(_ClassCounts):
    """Part of all targets, or of those of some classes, that were predicted."""

    def compute(self) -> Tensor:
        """Return the accuracy, () in 0 … 1; NaN without a target."""
        totals = self._chosen().sum(1)
        return totals[0] / totals[2]


class MacroF1(_ClassCounts):
    """Mean over classes, or over some of them, of each one's F1.

    A class that is neither predicted nor gold is left out, as in torchmetrics. All labels that
    training never had count together as one class more, of F1 zero, where any occurs.
    """

    def compute(self) -> Tensor:
        """Return the mean F1, () in 0 … 1; NaN without a target."""
        return f1(self._chosen()).nanmean()
