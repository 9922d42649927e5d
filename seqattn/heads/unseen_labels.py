"""Labels at evaluation that training never had: counted, and said once."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric

from seqattn.batch import SequenceBatch


class UnseenLabels(Metric):
    """Counts the unseen labels of an evaluation stage, over all processes.

    They are what negative integers among the targets say: -1 for one, -2 for two.
    """

    full_state_update = False
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._is_said = False

    @property
    def update_called(self) -> bool:
        """Always True: a stage without batches has no such label, and needs no warning."""
        return True

    def update(self, batch: SequenceBatch) -> None:
        """Count the labels of a batch; unlabelled positions and sequences have none."""
        targets, counted = batch.targets, batch.labelled_sequences
        if isinstance(targets, SequenceBatch):
            counted = None if counted is None else counted[targets.sequence_ids]
            targets = targets.values
        elif targets is not None and len(targets) == len(batch.values):
            counted = batch.labelled
        if not isinstance(targets, Tensor) or targets.is_floating_point():
            return
        unseen = -targets.clamp(max=0)
        if counted is not None:
            unseen = unseen * (counted if unseen.dim() == 1 else counted[:, None])
        self.count = self.count + unseen.sum()

    def compute(self) -> Tensor:
        """Return the count, ()."""
        return self.count

    def warn_once(self, stage: str) -> None:
        """Say how many there are, at the first end of a stage that has any."""
        count = int(self.compute())
        if count and not self._is_said:
            self._is_said = True
            rank_zero_warn(f"{count} {stage} labels never occur in training and count as wrong")
