"""Vectorizers of targets: label names or numbers to tensors, fitted on the training targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor

from seqattn.heads.segments import (
    count_milliseconds,
    is_segmented,
    label_frames,
    read_segments,
    require_inside,
)
from seqattn.vectorizer import TargetVectorizer, Vectorized

Unseen = Literal["wrong", "error"]


class LabelVectorizer(TargetVectorizer):
    """Label names to ids; the base of those that follow.

    Args:
        unseen: what a label does that training never had: it counts as ``wrong`` (its id is -1),
            or it is an ``error``.
    """

    def __init__(self, unseen: Unseen = "wrong") -> None:
        self.unseen = unseen
        self.labels: list[str] = []
        self.counts: list[int] = []

    def fit(self, targets: Iterable[Any]) -> None:
        """Collect the label names, sorted, and count them.

        Raises:
            ValueError: if there is no label at all.
        """
        counted: Counter[str] = Counter()
        for target in targets:
            if target is not None:
                counted.update(self.count(target))
        if not counted:
            raise ValueError("the training examples must have targets, got none")
        self.labels = sorted(counted)
        self.counts = [counted[label] for label in self.labels]
        self._index()

    @property
    def is_fitted(self) -> bool:
        """Whether the labels are known."""
        return bool(self.labels)

    def names(self, target: Any) -> list[str]:
        """Return the label names of one raw target."""
        raise TypeError(f"{type(self).__name__} must say the labels of a target")

    def count(self, target: Any) -> Counter[str]:
        """Return how much there is of each label in one raw target."""
        return Counter(self.names(target))

    def encode(self, name: str) -> int:
        """Return a label's id; -1 for one that training never had.

        Raises:
            ValueError: for such a label with ``unseen="error"``.
        """
        number = self._ids.get(name, -1)
        if number < 0 and self.unseen == "error":
            raise ValueError(f"the label must be one of the training labels, got {name!r}")
        return number

    def state(self) -> dict[str, Any]:
        """Return labels and counts."""
        return {"labels": self.labels, "counts": self.counts}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take labels and counts."""
        self.labels, self.counts = list(state["labels"]), list(state["counts"])
        self._index()

    def _index(self) -> None:
        self._ids = {label: number for number, label in enumerate(self.labels)}


class TokenLabelVectorizer(LabelVectorizer):
    """One label name per position.

    For a source whose positions have times (sound), a target may also list segments: start and
    end in seconds of the source, and a label. Every position gets the label at its centre,
    :data:`~seqattn.heads.segments.BACKGROUND` in no segment. They count in milliseconds.

    Of a source with unlabelled positions a label may be None there, and the last ones may be left
    out; their id is 0, which nothing reads.
    """

    def count(self, target: Any) -> Counter[str]:
        """Return the number of positions of each label, or the milliseconds of its segments.

        Raises:
            TypeError: if the target is no list.
            ValueError: if its segments overlap, or one is none.
        """
        if is_segmented(target):
            return count_milliseconds(read_segments(target))
        return super().count(target)

    def names(self, target: Any) -> list[str]:
        """Return the labels of all positions that have one.

        Raises:
            TypeError: if the target is no list.
        """
        return [name for name in _position_names(target) if name is not None]

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return one id per position (L,).

        Raises:
            TypeError: if the target is no list.
            ValueError: if there is not one label per position, or segments do not fit the source.
        """
        names = _labelled_names(self._frame_names(raw, source), source)
        ids = [0 if name is None else self.encode(name) for name in names]
        return torch.tensor(ids, dtype=torch.int64)

    def _frame_names(self, raw: Any, source: Vectorized) -> Sequence[str | None]:
        """Return the label names of all positions, of segments or as they are given."""
        is_empty = isinstance(raw, list | tuple) and not raw
        if not is_segmented(raw) and not (is_empty and source.times is not None):
            return _position_names(raw)
        if source.times is None:
            raise ValueError("segments need a source whose positions have times (sound), got none")
        segments = read_segments(raw)
        if source.labelled is None or bool(source.labelled.any()):  # a skipped sound has no length
            require_inside(segments, source.times)
        return label_frames(segments, source.times)

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the ids of all positions (T,)."""
        return torch.cat(list(rows)) if rows else torch.empty(0, dtype=torch.int64)


class SequenceLabelVectorizer(LabelVectorizer):
    """One label name per sequence."""

    def names(self, target: Any) -> list[str]:
        """Return the one label.

        Raises:
            TypeError: if the target is a list, or there is none.
        """
        if target is None:
            raise TypeError("the target must be one label, got None")
        if isinstance(target, list | tuple):
            raise TypeError(f"the target must be one label, got {target!r}: use multi_label")
        return [str(target)]

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return one id, ()."""
        return torch.tensor(self.encode(self.names(raw)[0]))

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the ids of all sequences (B,)."""
        return torch.stack(list(rows)) if rows else torch.empty(0, dtype=torch.int64)


class MultiLabelVectorizer(LabelVectorizer):
    """Any number of label names per sequence, and how many of them training never had."""

    def names(self, target: Any) -> list[str]:
        """Return the labels that hold.

        Raises:
            TypeError: if the target is no list.
        """
        if not isinstance(target, list | tuple | set | frozenset):
            raise TypeError(f"the target must be a list of labels, got {target!r}")
        return [str(label) for label in target]

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return 1 for every label that holds; last, minus the number of unseen ones (V + 1,)."""
        row = torch.zeros(len(self.labels) + 1, dtype=torch.int64)
        for number in {name: self.encode(name) for name in self.names(raw)}.values():
            if number < 0:
                row[-1] -= 1
            else:
                row[number] = 1
        return row

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the rows of all sequences (B, V + 1)."""
        empty = torch.empty(0, len(self.labels) + 1, dtype=torch.int64)
        return torch.stack(list(rows)) if rows else empty


class NumberVectorizer(TargetVectorizer):
    """One number per sequence, in units of the training targets' standard deviation."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0

    def fit(self, targets: Iterable[Any]) -> None:
        """Take mean and standard deviation.

        Raises:
            ValueError: if there is no target, or one is not a finite number.
        """
        numbers = [_number(target) for target in targets if target is not None]
        if not numbers:
            raise ValueError("the training examples must have targets, got none")
        self.mean = math.fsum(numbers) / len(numbers)
        spread = math.fsum((number - self.mean) ** 2 for number in numbers) / len(numbers)
        self.deviation = math.sqrt(spread) or 1.0

    @property
    def is_fitted(self) -> bool:
        """Whether mean and deviation are known."""
        return self.deviation > 0

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return the standardised number, ()."""
        return torch.tensor((_number(raw) - self.mean) / self.deviation)

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the numbers of all sequences (B,)."""
        return torch.stack(list(rows)) if rows else torch.empty(0)

    def restore(self, standardised: Tensor) -> Tensor:
        """Return numbers in the targets' own unit. Shape: any."""
        return standardised * self.deviation + self.mean

    def state(self) -> dict[str, Any]:
        """Return mean and deviation."""
        return {"mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take mean and deviation."""
        self.mean, self.deviation = float(state["mean"]), float(state["deviation"])


def _position_names(target: Any) -> list[str | None]:
    """Return the label of each position, None where there is none."""
    if isinstance(target, str) or not isinstance(target, Sequence):
        raise TypeError(f"the target must be a list of labels, got {target!r:.60}")
    return [None if label is None else str(label) for label in target]


def _labelled_names(names: Sequence[str | None], source: Vectorized) -> list[str | None]:
    """Return the label of each position, None where it is not labelled."""
    positions = len(source.values)
    labelled = [True] * positions if source.labelled is None else source.labelled.tolist()
    if len(names) > positions or any(labelled[len(names) :]):
        raise ValueError(
            f"there must be one label per position, "
            f"got {len(names)} labels for {positions} positions"
        )
    found = [
        name if is_labelled else None
        for name, is_labelled in zip_longest(names, labelled, fillvalue=None)
    ]
    for position, (name, is_labelled) in enumerate(zip(found, labelled, strict=True)):
        if is_labelled and name is None:
            raise ValueError(f"a labelled position must have a label, got None at {position}")
    return found


def _number(target: Any) -> float:
    try:
        number = float(target)
    except (TypeError, ValueError):
        raise ValueError(f"the target must be a number, got {target!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"the target must be finite, got {number}")
    return number
