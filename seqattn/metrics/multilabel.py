"""Accuracy, F1 and exact match of any number of labels per item."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn.metrics.counts import Counts, f1, require_shape, share_states


def multilabel_metrics(num_labels: int) -> MetricCollection:
    """Return ``accuracy``, ``macro_f1`` and ``exact_match`` of logits, from one table of counts."""
    accuracy, macro_f1 = MultilabelAccuracy(num_labels), MultilabelF1(num_labels)
    exact_match = ExactMatch(num_labels)
    return share_states({"accuracy": accuracy, "macro_f1": macro_f1, "exact_match": exact_match})


class _LabelCounts(Counts):
    """Rows where each of V labels was matched, predicted, gold. Rows all right, and all rows.

    The last column of the counts is for labels that training never had: gold, never predicted.
    """

    label_counts: Tensor
    row_counts: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        empty = torch.zeros(3, num_labels + 1, dtype=torch.int64)
        self.add_state("label_counts", empty, dist_reduce_fx="sum")
        self.add_state("row_counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch; a logit above 0, a probability above 1/2, predicts its label.

        Shape:
            logits: (N, V) floats.
            targets: (N, V) of 0 and 1, or bool; or (N, V + 1), where the last column is not 0
                in rows that have a label which training never had.

        Raises:
            ValueError: if they do not have these shapes.
        """
        require_shape("logits", logits, (len(targets), self.num_labels))
        if targets.shape != (len(targets), self.num_labels + 1):
            require_shape("targets", targets, (len(targets), self.num_labels))
            targets = F.pad(targets, (0, 1))
        predicted, gold = F.pad(logits > 0, (0, 1)), targets != 0  # (N, V + 1)
        counts = [(predicted & gold).sum(0), predicted.sum(0), gold.sum(0)]
        self.label_counts = self.label_counts + torch.stack(counts)  # (3, V + 1)
        is_exact = (predicted == gold).all(1)
        rows = torch.stack([is_exact, torch.ones_like(is_exact)])
        self.row_counts = self.row_counts + rows.sum(1)


class MultilabelAccuracy(_LabelCounts):
    """Part of rows and labels where the label is rightly present or rightly absent.

    A row with a label that training never had counts as one more, which is wrong.
    """

    def compute(self) -> Tensor:
        """Return the accuracy, () in 0 … 1; NaN without a row."""
        matched, predicted, gold = self.label_counts.sum(1).unbind()
        cells = self.row_counts[1] * self.num_labels + self.label_counts[2, -1]
        return 1 - (predicted + gold - 2 * matched) / cells


class MultilabelF1(_LabelCounts):
    """Mean over labels of each one's F1; a label neither predicted nor gold is left out."""

    def compute(self) -> Tensor:
        """Return the mean F1, () in 0 … 1; NaN where no label is predicted or gold."""
        return f1(self.label_counts).nanmean()


class ExactMatch(_LabelCounts):
    """Part of the rows with every label right."""

    def compute(self) -> Tensor:
        """Return the part, () in 0 … 1; NaN without a row."""
        return self.row_counts[0] / self.row_counts[1]
