"""Weights of the classes in a loss."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from seqattn.heads.targets import LabelVectorizer

ClassWeights = Literal["balanced"] | dict[str, float] | None


def require_class_weights(class_weights: ClassWeights) -> None:
    """Check the argument of a head.

    Raises:
        ValueError: if a weight is negative, or a word other than ``balanced`` is given.
    """
    if isinstance(class_weights, str) and class_weights != "balanced":
        raise ValueError(f"class_weights must be 'balanced' or numbers, got {class_weights!r}")
    for label, weight in (class_weights if isinstance(class_weights, dict) else {}).items():
        if weight < 0:
            raise ValueError(f"class_weights must not be negative, got {weight} for {label!r}")


def balance(class_weights: ClassWeights, vectorizer: Any, like: Tensor) -> Tensor | None:
    """Return the weight of each label, or None where all are 1.

    ``balanced`` is ``total / (V · count)``, which leaves the mean weight of a training item at 1.

    Shape:
        returns: (V,).

    Raises:
        ValueError: if a weight is given for a label that training never had.
    """
    if class_weights is None:
        return None
    assert isinstance(vectorizer, LabelVectorizer)
    counts = torch.tensor(vectorizer.counts, dtype=like.dtype, device=like.device)
    if isinstance(class_weights, str):
        return counts.sum() / (len(counts) * counts)
    unknown = sorted(class_weights.keys() - set(vectorizer.labels))
    if unknown:
        known = ", ".join(vectorizer.labels)
        raise ValueError(f"class_weights must name training labels ({known}), got {unknown[0]!r}")
    weights = [class_weights.get(label, 1.0) for label in vectorizer.labels]
    return torch.tensor(weights, dtype=like.dtype, device=like.device)
