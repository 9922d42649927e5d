"""Seeded splits for graphs: of the nodes of each graph, and of a set of graphs into folds."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.errors import DataError
from seqattn.graph import Graph
from seqattn.graph_checks import check_graph

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class NodeSplit(Reader):
    """Gives whole graphs, labelled on one part of their nodes: semi-supervised learning.

    Three readers of equal `reader`, `train`, `val` and `seed` share all nodes and edges, label no
    node twice, and together label every node that has a label; each part has the labels in their
    shares.

    Args:
        reader: gives graphs, with a label or None for each node.
        split: which part is labelled.
        train: size of the part `train`: a count (int), or a fraction of the labelled nodes (float).
        val: likewise of `val`; the rest is `test`.
        seed: decides which nodes are where.

    Raises:
        TypeError: if a size is neither int nor float.
        ValueError: if a size or `split` is out of its range.
    """

    def __init__(
        self,
        reader: Reader,
        split: SplitName,
        train: int | float = 0.5,
        val: int | float = 0.1,
        *,
        seed: int = 0,
    ) -> None:
        require_split(split)
        _require_size("train", train)
        _require_size("val", val)
        if isinstance(train, float) and isinstance(val, float) and train + val > 1:
            raise ValueError(f"train and val must be at most 1 together, got {train} and {val}")
        self.reader = reader
        self.split = split
        self.sizes = (train, val)
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the graphs.

        Raises:
            DataError: if an example is not a graph with a label or None for each node, or the
                sizes leave no node to the part; names its key.
        """
        for example in self.reader.read():
            labels = node_labels(example)
            given = np.flatnonzero([label is not None for label in labels])
            order = given[stratified_order([labels[node] for node in given], self.seed)]
            first, second = self._bounds(len(order))
            parts = np.split(order, [first, second])
            chosen = parts[SPLITS.index(self.split)]
            if not len(chosen):
                raise DataError(
                    f"{self.split} must hold a labelled node, got none of {len(order)} "
                    f"with train {self.sizes[0]} and val {self.sizes[1]}",
                    key=example.key,
                )
            yield label_only(example, chosen)

    def _bounds(self, total: int) -> tuple[int, int]:
        """Return where `val` and `test` begin in the order of `total` nodes."""
        train, val = (round(s * total) if isinstance(s, float) else s for s in self.sizes)
        return min(train, total), min(train + val, total)


class Fold(Reader):
    """Gives a part of another reader's examples for cross-validation.

    The examples are cut into folds of equal size, each with the labels in their shares. Fold
    number `fold` is ``test``, the one after it ``val``, and the others are ``train``. The examples
    keep their order and their keys.

    Args:
        reader: the reader of all examples.
        split: which part to give.
        fold: number of the test fold, from 0.
        folds: how many there are.
        seed: decides which example is in which fold.

    Raises:
        ValueError: if there is no such split or fold, or there are fewer than three folds.
    """

    def __init__(
        self, reader: Reader, split: SplitName, fold: int = 0, folds: int = 10, *, seed: int = 0
    ) -> None:
        require_split(split)
        if folds < 3:
            raise ValueError(f"folds must be at least 3, for train, val and test, got {folds}")
        if not 0 <= fold < folds:
            raise ValueError(f"fold must lie in 0 … {folds - 1}, got {fold}")
        self.reader = reader
        self.split = split
        self.fold = fold
        self.folds = folds
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the part's examples, in order.

        Raises:
            DataError: if there are fewer examples than folds, or as the other reader does.
        """
        examples = list(self.reader.read())
        if len(examples) < self.folds:
            raise DataError(
                f"there must be an example for each of {self.folds} folds, got {len(examples)}"
            )
        order = stratified_order([_group(example.target) for example in examples], self.seed)
        fold_of = np.empty(len(examples), dtype=np.int64)
        fold_of[order] = np.arange(len(order)) * self.folds // len(order)
        after = (fold_of - self.fold) % self.folds  # 0: test, 1: val
        for example, distance in zip(examples, after.tolist(), strict=True):
            if ("test", "val")[distance] == self.split if distance < 2 else self.split == "train":
                yield example


def require_graph(example: Example) -> Graph:
    """Return the checked source of an example.

    Raises:
        DataError: if it is not a graph, or breaks a rule of :func:`check_graph`; names its key.
    """
    if not isinstance(example.source, Graph):
        raise DataError(
            f"the source must be a seqattn.Graph, got {type(example.source).__name__}",
            key=example.key,
        )
    try:
        return check_graph(example.source)
    except ValueError as error:
        raise DataError(str(error), key=example.key) from error


def node_labels(example: Example) -> list[Any]:
    """Return the label, or None, of each node of an example.

    Raises:
        DataError: if it is not a graph with one target per node; names its key.
    """
    graph, labels = require_graph(example), example.target
    if not isinstance(labels, list) or len(labels) != graph.num_nodes:
        raise DataError(
            f"there must be a label or None for each of {graph.num_nodes} nodes, "
            f"got {labels!r:.60}",
            key=example.key,
        )
    return labels


def label_only(example: Example, nodes: npt.NDArray[np.int64]) -> Example:
    """Return a graph that is labelled at these nodes only. Shape: nodes (N,)."""
    labelled = np.zeros(example.source.num_nodes, dtype=np.bool_)
    labelled[nodes] = True
    target = [
        label if keep else None
        for label, keep in zip(example.target, labelled.tolist(), strict=True)
    ]
    return replace(example, source=replace(example.source, labelled=labelled), target=target)


def stratified_order(groups: Sequence[Any], seed: int) -> npt.NDArray[np.int64]:
    """Return a seeded order of the items in which every stretch has the groups in their shares.

    The i-th of the n members of a group, in random order, goes to the place (i + 1/2) / n.

    Shape:
        returns: (number of items,).
    """
    shuffled = list(range(len(groups)))
    random.Random(seed).shuffle(shuffled)
    members: dict[Any, list[int]] = defaultdict(list)
    for item in shuffled:
        members[groups[item]].append(item)
    place = {
        item: (rank + 0.5) / len(group)
        for group in members.values()
        for rank, item in enumerate(group)
    }
    return np.array(sorted(shuffled, key=place.__getitem__), dtype=np.int64)


def require_split(split: str) -> None:
    """Check the name of a split.

    Raises:
        ValueError: if it is none.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be train, val or test, got {split!r}")


def _group(target: Any) -> Any:
    return tuple(target) if isinstance(target, list | tuple) else target


def _require_size(name: str, size: int | float) -> None:
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise TypeError(f"{name} must be a count (int) or a fraction (float), got {size!r}")
    if size < 0 or (isinstance(size, float) and size > 1):
        raise ValueError(f"{name} must be a count or a fraction up to 1, not negative, got {size}")
