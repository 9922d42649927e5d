"""What a head computes: its output, and its loss before any mean is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.batch import SequenceBatch


@dataclass
class Output:
    """What :meth:`TaskHead.forward` gives to the loss and to decoding.

    Args:
        logits: one row per position or sequence. Shape: (N, V).
        offsets: the rows of each sequence. Shape: (B + 1,).
        hidden: the encoder's vectors that the head read. Shape: (T, D).
        batch: the batch as the front-end left it; its targets fit the logits.
        extras: whatever else a head wants to hand on.
    """

    logits: Tensor
    offsets: Tensor
    hidden: Tensor
    batch: SequenceBatch
    extras: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Loss:
    """Loss of each labelled item, unreduced; the mean is taken over the whole optimiser step.

    Args:
        values: Shape: (N,).
        weight: what each counts; 0 leaves an item out. Shape: (N,).
    """

    values: Tensor
    weight: Tensor

    def sums(self) -> tuple[Tensor, Tensor]:
        """Return the weighted sum and the sum of weights, two scalars; float32 at least."""
        values, weight = _widen(self.values), _widen(self.weight)  # bfloat16 counts to 256
        return (values * weight).sum(), weight.sum()


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Loss:
    """Return the cross-entropy of each row; a target of -1 (never seen in training) weighs 0.

    A class weight multiplies both the loss and what it counts in the mean, as in PyTorch.

    Shape:
        logits (N, V); targets (N,) int64 in -1 … V - 1; class_weights (V,).
    """
    logits = _widen(logits)
    known = targets.clamp(min=0)
    weight = (targets >= 0).to(logits.dtype)
    values = F.cross_entropy(logits, known, reduction="none", label_smoothing=label_smoothing)
    if class_weights is not None:
        weight = weight * class_weights.to(logits)[known]
    return Loss(values, weight)


def _widen(x: Tensor) -> Tensor:
    """Return x in float32, or float64 where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
