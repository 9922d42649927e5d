"""Strict F1 of the spans that BIO labels spell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqattn.metrics.counts import Counts, f1, mark_unseen, require_ids, require_integers


def has_spans(labels: Sequence[str]) -> bool:
    """Return whether a label set is IOB2: ``O``, ``B-type`` and ``I-type``, and some span begins.

    A type that goes on (I-) but never begins (B-) tells of IOB1, whose spans are other ones.
    """
    begun = {label[2:] for label in labels if label.startswith("B-")}
    inside = {label[2:] for label in labels if label.startswith("I-")}
    return bool(begun) and inside <= begun and all(_is_iob(label) for label in labels)


class SpanF1(Counts):
    """Micro F1 of spans under strict IOB2, as seqeval's ``mode="strict", scheme=IOB2``.

    A span begins at B-type and goes on over the I-type that follow; an I-type that continues
    nothing is in no span. A predicted span is right if the gold one has its start, end and type.

    A gold label that training never had (id -1) has no type here. A run of them is one gold span
    that no prediction can match. Straight after a B-type whose I-type training never had either,
    the run is taken for that span's continuation, and the span as a whole cannot be matched.

    Args:
        labels: the V labels, in the order of their ids.

    Raises:
        ValueError: if a label is not ``O``, ``B-type`` or ``I-type``.
    """

    span_counts: Tensor
    label_table: Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.add_state("span_counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.register_buffer("label_table", _label_table(self.labels), persistent=False)

    def update(self, predictions: Tensor, targets: Tensor, offsets: Tensor) -> None:
        """Count the spans of packed sequences.

        Shape:
            predictions: (N,) integers in 0 … V - 1.
            targets: (N,) integers; -1 is a label that training never had.
            offsets: (B + 1,) integers, where each sequence begins, and N.

        Raises:
            ValueError: if a shape or type is another, or the offsets do not end at N (this last
                on the CPU only, since a GPU would have to be waited for).
        """
        require_ids(predictions, targets)
        require_integers("offsets", offsets, "(B + 1,)")
        if offsets.device.type == "cpu" and offsets[-1:].tolist() != [len(targets)]:
            raise ValueError(f"offsets must end at N = {len(targets)}, got {offsets[-1:].tolist()}")
        is_first = torch.zeros(len(targets) + 1, dtype=torch.bool, device=targets.device)
        is_first = is_first.index_fill_(0, offsets.long(), True)[:-1]  # (N,)
        predicted, predicted_types, predicted_ends = self._read_spans(predictions, is_first)
        gold, gold_types, gold_ends = self._read_spans(targets, is_first)
        matched = predicted & gold
        matched &= (predicted_types == gold_types) & (predicted_ends == gold_ends)
        counts = torch.stack([matched.sum(), predicted.sum(), gold.sum()])
        self.span_counts = self.span_counts + counts

    def compute(self) -> Tensor:
        """Return F1, () in 0 … 1; NaN where no span is predicted or gold."""
        return f1(self.span_counts)

    def _read_spans(self, ids: Tensor, is_first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether a span begins at each position, and its type and end if so, all (N,)."""
        ids = mark_unseen(ids, len(self.labels))
        types, begins, continues, is_lone = self.label_table[:, ids].unbind()  # each (N,)
        is_unseen = ids == len(self.labels)
        joins = (types == types.roll(1)) | (is_unseen & is_lone.roll(1).bool())
        goes_on = continues.bool() & joins & ~is_first
        return begins.bool() | (is_unseen & ~goes_on), types, _next_false(goes_on)


def _next_false(flags: Tensor) -> Tensor:
    """Return for each position the first one after it whose flag is False, N if none, (N,)."""
    after = torch.arange(1, len(flags) + 1, device=flags.device)  # (N,)
    stops = torch.where(flags.roll(-1), len(flags), after)
    stops[-1:] = len(flags)
    return stops.flip(0).cummin(0).values.flip(0)


def _is_iob(label: str) -> bool:
    return label == "O" or (label[:2] in ("B-", "I-") and len(label) > 2)


def _label_table(labels: Sequence[str]) -> Tensor:
    """Return type, begins, continues and is lone of each label and of the unseen, (4, V + 1)."""
    for label in labels:
        if not _is_iob(label):
            raise ValueError(f"labels must be 'O', 'B-type' or 'I-type', got {label!r}")
    types = list(dict.fromkeys(label[2:] for label in labels))
    rows = [
        [*(types.index(label[2:]) for label in labels), len(types)],
        [*(label[0] == "B" for label in labels), False],
        [*(label[0] == "I" for label in labels), True],
        [*(label[0] == "B" and f"I-{label[2:]}" not in labels for label in labels), False],
    ]
    return torch.tensor(rows, dtype=torch.int64)
