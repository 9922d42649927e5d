"""What a sequence head is measured by: each true symbol foretold, and outputs freely written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from seqattn.batch import SequenceBatch
from seqattn.generation.stepper import Hypothesis
from seqattn.heads.base import Monitor
from seqattn.heads.output import Output
from seqattn.heads.sequence_targets import TargetSequenceVectorizer
from seqattn.heads.teacher import target_rows
from seqattn.metrics import Accuracy
from seqattn.metrics.counts import Counts
from seqattn.metrics.error_rates import ErrorRate, edit_distance
from seqattn.metrics.overlap import Bleu, Chrf, Rouge
from seqattn.metrics.sequences import ExactMatch
from seqattn.seeds import derive_seed

_METRICS: dict[str, Callable[[], Metric]] = {
    "exact_match": ExactMatch,
    "token_error_rate": lambda: ErrorRate("token"),
    "word_error_rate": lambda: ErrorRate("word"),
    "character_error_rate": lambda: ErrorRate("character"),
    "bleu": Bleu,
    "chrf": Chrf,
    "rouge1": lambda: Rouge("1"),
    "rougeL": lambda: Rouge("L"),
}
_VARIANT = re.compile(r"\(\d+\)$")
_USUAL = tuple(name for name in _METRICS if name not in ("chrf", "rouge1", "rougeL"))


class Gap(Counts):
    """How much worse a model does on its own symbols than on the true ones.

    It is the share of true symbols, END among them, that are foretold given the true ones before
    each, minus one plus the edit distance per symbol of what is written, of the same sequences.
    """

    higher_is_better = False
    foretold: Tensor
    edits: Tensor
    symbols: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("foretold", "edits", "symbols"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, foretold: Tensor, written: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]
    ) -> None:
        """Add sequences.

        Args:
            foretold: how many of their symbols, ().
            written: the symbols of each, END where it came.
            truth: the true ones and END.
        """
        pairs = zip(written, truth, strict=True)
        self.foretold = self.foretold + foretold
        self.edits = self.edits + sum(edit_distance(one, other) for one, other in pairs)
        self.symbols = self.symbols + sum(map(len, truth))

    def compute(self) -> Tensor:
        """Return the gap, (); NaN without a symbol."""
        return (self.foretold + self.edits) / self.symbols - 1


def require_metrics(metrics: Sequence[str] | None, decode_examples: int) -> list[str]:
    """Return the metrics of what is written; the usual ones for None, none where nothing is.

    Raises:
        ValueError: if one is unknown, or some are asked for where nothing is written.
    """
    if not isinstance(decode_examples, int) or decode_examples < 0:
        raise ValueError(
            f"decode_examples must be a whole number from 0 on, got {decode_examples!r}"
        )
    for name in metrics or ():
        if name not in _METRICS:
            raise ValueError(f"metrics must be some of {', '.join(_METRICS)}, got {name!r}")
    if metrics and not decode_examples:
        raise ValueError(f"metrics need decode_examples above 0, got {list(metrics)} and 0")
    if metrics is not None:
        return list(dict.fromkeys(metrics))
    return list(_USUAL) if decode_examples else []


def require_monitor(
    monitor: str | None,
    metrics: Sequence[str],
    *,
    teaches: bool,
    build: Callable[[], MetricCollection],
) -> Monitor:
    """Return the metric that chooses the best checkpoint, and its direction.

    Args:
        monitor: the one asked for; None for the token error rate, the first metric or the loss.
        metrics: those of what is written.
        teaches: whether there is an accuracy under teacher forcing, and a gap to it.
        build: gives all that is measured, what a subclass adds too; asked for these alone.

    Raises:
        ValueError: if it is none of those that are measured and have a direction.
    """
    if monitor is None:
        monitor = "token_error_rate" if "token_error_rate" in metrics else [*metrics, "loss"][0]
    rises = {"loss": False, **({"accuracy": True} if teaches else {})}
    rises |= {name: bool(_METRICS[name]().higher_is_better) for name in metrics}
    if monitor not in rises:
        directions = {name: metric.higher_is_better for name, metric in build().items()}
        rises |= {name: better for name, better in directions.items() if better is not None}
    if monitor not in rises:
        raise ValueError(f"monitor must be one of {', '.join(rises)}, got {monitor!r}")
    return f"val/{monitor}", "max" if rises[monitor] else "min"


def make_sequence_metrics(names: Sequence[str], classes: int | None) -> MetricCollection:
    """Return the metrics of one stage.

    Args:
        names: those of what is written.
        classes: V of a decoder, for accuracy and gap; None without one.
    """
    metrics: dict[str, Metric | MetricCollection] = {name: _METRICS[name]() for name in names}
    if classes is not None:
        metrics["accuracy"] = Accuracy(classes)
        if names:
            metrics["gap"] = Gap()
    return MetricCollection(metrics, compute_groups=False)


def choose_examples(batch: SequenceBatch, share: float) -> list[int]:
    """Return the places of a share of the labelled examples.

    An example's key alone decides, so the choice is the same in every epoch, however the examples
    are batched and shared among processes. Keys that differ in nothing but a number in brackets at
    their end, those of the variants of one word, are chosen together. Where a key is a mere number,
    as those are that the collator makes up within a batch, the target decides too.
    """
    counted = batch.labelled_sequences
    places = range(len(batch)) if counted is None else counted.nonzero()[:, 0].tolist()
    names = [_VARIANT.sub("", key) for key in batch.keys]
    rows = target_rows(batch)
    parts = [row if name.isdecimal() else [] for name, row in zip(names, rows, strict=True)]
    seeds = [derive_seed(name, *part) for name, part in zip(names, parts, strict=True)]
    return [place for place in places if seeds[place] < share * 2**63]


def update_sequence_metrics(
    metrics: MetricCollection,
    written: Sequence[Hypothesis],
    output: Output,
    batch: SequenceBatch,
    chosen: Sequence[int],
    vectorizer: TargetSequenceVectorizer,
) -> None:
    """Score what was written for the chosen examples of a batch.

    A metric that a subclass of the head has added to these is updated with what was written, the
    references and the examples' keys.
    """
    if not chosen:
        return
    everything = target_rows(batch)
    truth = [everything[place] for place in chosen]
    symbols = [one.symbols for one in written]
    texts = [[vectorizer.decode(ids) for ids in rows] for rows in (symbols, truth)]
    names = [[vectorizer.names(ids) for ids in rows] for rows in (symbols, truth)]
    for name, metric in metrics.items():
        if name in _METRICS:
            metric.update(*(names if name == "token_error_rate" else texts))
        elif name not in ("accuracy", "gap"):
            metric.update(*texts, [batch.keys[place] for place in chosen])
    if "gap" in metrics:
        end = vectorizer.end_id
        ended = [[*one.symbols, end] if one.finished else one.symbols for one in written]
        metrics["gap"].update(_foretold(output, chosen), ended, [[*ids, end] for ids in truth])


def _foretold(output: Output, chosen: Sequence[int]) -> Tensor:
    """Return how many symbols of the chosen sequences are right under teacher forcing, ()."""
    is_right = output.logits.argmax(-1) == output.extras["targets"]
    offsets = output.offsets
    total = torch.cat([is_right.new_zeros(1).long(), is_right.long().cumsum(0)])  # (N + 1,)
    rows = torch.tensor(chosen, device=offsets.device)
    return (total[offsets[rows + 1]] - total[offsets[rows]]).sum()
