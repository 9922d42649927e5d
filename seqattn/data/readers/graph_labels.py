"""Known labels as an input: what a node's neighbours are tells what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.graph_split import node_labels
from seqattn.errors import DataError
from seqattn.graph import Graph

UNKNOWN = ""
"""The category of a node whose label is not shown."""


@dataclass(frozen=True, eq=False)
class ShownGraph:
    """A graph whose training labels are an input, some of them hidden by draw.

    Args:
        graph: its nodes and edges, labelled where a prediction is wanted.
        labels: each node's training label, :data:`UNKNOWN` without. Shape: (n,) str.
        shown: part of the training labels that a draw shows.
    """

    graph: Graph
    labels: npt.NDArray[Any]
    shown: float

    @property
    def num_nodes(self) -> int:
        """Return n."""
        return self.graph.num_nodes

    def sample(self, draw: int | None = None) -> Graph:
        """Return the graph with the shown labels as its last category.

        Without a draw all training labels are shown. With one, a node whose own label is shown is
        not labelled: a model learns from the hidden ones, and never reads what it shall tell.
        """
        graph, seen, labelled = self.graph, self.labels != UNKNOWN, self.graph.labelled
        if draw is not None:
            seen &= np.random.default_rng(draw).random(self.num_nodes) < self.shown
            labelled = ~seen if labelled is None else labelled & ~seen
        column = np.where(seen, self.labels, UNKNOWN)[:, None]
        if graph.categories is not None:
            column = np.concatenate([graph.categories.astype(object), column], axis=1)
        return replace(graph, categories=column, labelled=labelled)


class ShownLabels(Reader):
    """Gives graphs that know the training labels of their nodes, as a category of each node.

    Masked label prediction (Shi et al. 2021, "Masked label prediction", section 3.2): in training
    a part of the training labels is shown, another for every draw, and the others are to be told;
    in evaluation all training labels are shown.

    Args:
        reader: gives graphs with labelled nodes, of any split.
        train: gives the same graphs, labelled at the training nodes.
        shown: part of the training labels that is shown in training.

    Raises:
        ValueError: if `shown` does not lie between 0 and 1.
    """

    def __init__(self, reader: Reader, train: Reader, shown: float = 0.5) -> None:
        if not 0 < shown < 1:
            raise ValueError(f"shown must lie between 0 and 1, got {shown}")
        self.reader = reader
        self.train = train
        self.shown = shown

    def read(self) -> Iterator[Example]:
        """Yield the graphs.

        Raises:
            DataError: if the two readers give different graphs, or as they do.
        """
        pairs = zip(self.reader.read(), self.train.read(), strict=True)
        for example, known in pairs:
            labels = node_labels(known)
            if example.source.num_nodes != len(labels):
                raise DataError(
                    f"train must give the same graphs as reader, got {len(labels)} nodes "
                    f"for {example.source.num_nodes}",
                    key=example.key,
                )
            names = np.array([UNKNOWN if label is None else str(label) for label in labels])
            yield replace(example, source=ShownGraph(example.source, names, self.shown))
