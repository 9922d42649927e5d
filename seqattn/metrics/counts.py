"""What all metrics share: states that are sums, and checks of what they are given."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection


def share_states(metrics: dict[str, Metric | MetricCollection]) -> MetricCollection:
    """Return metrics that share their states, so that only the first one counts."""
    return MetricCollection(metrics, compute_groups=[list(metrics)])


class Counts(Metric):
    """A metric whose states are sums; counts of zero are a state like any other."""

    higher_is_better = True
    full_state_update = False

    @property
    def update_called(self) -> bool:
        """Always True: computing before an update gives NaN here, and no warning."""
        return True


def f1(counts: Tensor) -> Tensor:
    """Return F1 of counts matched, predicted and gold (3, ...), NaN for 0 of 0."""
    return 2 * counts[0] / (counts[1] + counts[2])


def require_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Check a tensor's shape.

    Raises:
        ValueError: if it is another one.
    """
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def require_integers(name: str, value: Tensor, shape: str) -> None:
    """Check that a tensor holds integers in one dimension.

    Raises:
        ValueError: if it does not.
    """
    if value.dim() != 1 or value.is_floating_point():
        got = f"{value.dtype} {tuple(value.shape)}"
        raise ValueError(f"{name} must be integers of shape {shape}, got {got}")


def require_ids(predictions: Tensor, targets: Tensor) -> None:
    """Check that predictions and targets are integers of one shape (N,).

    Raises:
        ValueError: if they are not.
    """
    require_integers("predictions", predictions, "(N,)")
    require_integers("targets", targets, "(N,)")
    require_shape("predictions", predictions, tuple(targets.shape))


def mark_unseen(ids: Tensor, num_labels: int) -> Tensor:
    """Return the ids (N,), with V for whatever is no label."""
    return torch.where((ids < 0) | (ids >= num_labels), num_labels, ids.long())
