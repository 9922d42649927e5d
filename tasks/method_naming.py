"""What is a function called? Its body to the sub-words of its name, from text or syntax tree.

The functions are those of the running interpreter's own library, as in the other tasks on Python
source; nothing is downloaded. The task is that of Allamanis et al. (2016) and Alon et al. (2019).
``python -m tasks.method_naming`` prints what the most frequent name would score.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from seqattn import DataError, Example, Graph, Seq2Seq
from seqattn.data import Reader
from tasks.python_trees import Function, find_functions, split_identifier, to_graph, to_tokens
from tasks.standard_library import SplitName, choose_modules, read_sources

Source = Literal["text", "tree", "nodes"]

_logger = logging.getLogger(__name__)


class MethodNames(Reader):
    """Gives functions of the standard library without their name, which is the target.

    A target is a list of sub-words: ``["read", "line"]`` for ``_readLine``. In the source the name
    is masked wherever it occurs; see :mod:`tasks.python_trees`. The key is ``"module:line"``.
    Modules that are missing or do not parse are left out, listed in :attr:`skipped` and logged.

    Args:
        split: "train", "val" or "test"; a module's name decides where it is.
        source: ``text``, a list of tokens; ``tree``, the syntax tree as a graph; ``nodes``, that
            graph without its edges.
        fraction: part of the split's modules to read.
        seed: which modules a fraction takes.
        max_length: tokens or nodes that are kept, the first ones.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        split: SplitName,
        source: Source = "text",
        *,
        fraction: float = 1.0,
        seed: int = 0,
        max_length: int = 200,
    ) -> None:
        if source not in get_args(Source):
            raise ValueError(f"source must be text, tree or nodes, got {source!r}")
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.modules = choose_modules(split, fraction, seed)
        self.split = split
        self.source = source
        self.max_length = max_length
        self.skipped: list[str] = []

    def read(self) -> Iterator[Example]:
        """Yield the functions.

        Raises:
            DataError: if this Python has no source of its standard library.
        """
        sources = read_sources(self.modules)
        self.skipped = [module for module in self.modules if module not in sources]
        for module, text in sources.items():
            try:
                functions = list(find_functions(text))
            except DataError:
                self.skipped.append(module)
                continue
            for function in functions:
                name = split_identifier(function.name)
                yield Example(self._show(function), name, f"{module}:{function.line}")
        names = " ".join(self.skipped) or "none"
        _logger.info("%s: of %d modules skipped: %s", self.split, len(self.modules), names)

    def _show(self, function: Function) -> list[str] | Graph:
        if self.source == "text":
            return to_tokens(function)[: self.max_length]
        return to_graph(function, self.max_length, edges=self.source == "tree")


class MethodNaming(Seq2Seq):
    """Sequence to sequence that also reports F1 of sub-words, as ``subword_f1``."""

    def build_metrics(self) -> MetricCollection:
        """Add it, where outputs are written at all."""
        metrics = super().build_metrics()
        if self.metric_names:
            metrics.add_metrics({"subword_f1": SubwordF1()})
        return metrics


class SubwordF1(Metric):
    """F1 of the sub-words of all names together, in any order (Allamanis et al. 2016).

    A sub-word is found as often as it is in both prediction and reference.
    """

    higher_is_better = True
    full_state_update = False
    found: Tensor
    predicted: Tensor
    wanted: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("found", "predicted", "wanted"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def update_called(self) -> bool:
        """Always True: computing before an update gives NaN here, and no warning."""
        return True

    def update(
        self,
        predictions: Sequence[list[str]],
        references: Sequence[list[str]],
        keys: Sequence[str] = (),
    ) -> None:
        """Add names, each a list of sub-words; the keys do not matter."""
        for prediction, reference in zip(predictions, references, strict=True):
            self.found += (Counter(prediction) & Counter(reference)).total()
            self.predicted += len(prediction)
            self.wanted += len(reference)

    def compute(self) -> Tensor:
        """Return F1, () in 0 … 1; NaN without a sub-word."""
        return 2 * self.found / (self.predicted + self.wanted)


def score_most_frequent(train: Iterable[Example], test: Iterable[Example]) -> dict[str, object]:
    """Return what the most frequent name of training scores: the baseline.

    Returns:
        ``{"name": …, "exact_match": …, "subword_f1": …}``.
    """
    counts = Counter(tuple(example.target) for example in train)
    name, _ = max(counts.items(), key=lambda item: (item[1], item[0]))
    targets = [example.target for example in test]
    metric = SubwordF1()
    metric.update([list(name)] * len(targets), targets)
    right = sum(target == list(name) for target in targets)
    return {
        "name": list(name),
        "exact_match": right / len(targets),
        "subword_f1": float(metric.compute()),
    }


if __name__ == "__main__":
    print(json.dumps(score_most_frequent(MethodNames("train").read(), MethodNames("test").read())))
