"""One large graph as many small examples, by neighbour sampling."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from seqattn.batch import Example
from seqattn.data.neighbors import Indices, InEdges, Neighborhood, require_fanouts
from seqattn.data.readers.base import Reader
from seqattn.data.readers.graph_split import node_labels, require_graph
from seqattn.graph import Graph


class NeighborSampled(Reader):
    """Gives the labelled nodes of a large graph by batches, each with what its nodes read.

    The source of an example is a :class:`~seqattn.data.neighbors.Neighborhood`: it draws other
    neighbours in every epoch, and always the same ones in evaluation. Its length is the most nodes
    that a draw can have, and so bounds the memory of a micro-batch. The target lists the labels of
    the seeds, which are the first nodes of every draw.

    Degrees, eigenvectors and walks of a sample are not those of the graph: give nodes features.

    Args:
        reader: gives graphs, labelled at some of their nodes or at all.
        fanouts: edges that are taken at most of each node, hop by hop from the seeds; -1 takes
            all. There should be as many hops as layers that read edges.
        batch_nodes: seeds of an example.
        seed: decides which seeds come together, and the neighbours in evaluation.
        shuffle: False keeps the nodes' order, so that predictions of many nodes can be joined.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        reader: Reader,
        fanouts: Sequence[int],
        batch_nodes: int = 256,
        *,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        require_fanouts(fanouts)
        if batch_nodes < 1:
            raise ValueError(f"batch_nodes must be at least 1, got {batch_nodes}")
        self.reader = reader
        self.fanouts = tuple(fanouts)
        self.batch_nodes = batch_nodes
        self.seed = seed
        self.shuffle = shuffle

    def read(self) -> Iterator[Example]:
        """Yield the batches of every graph; their keys are the graph's and a number.

        Raises:
            DataError: if a source is not a graph, or breaks a rule; names the graph's key.
        """
        for example in self.reader.read():
            graph = require_graph(example)
            labels = None if example.target is None else node_labels(example)
            in_edges = InEdges.of(graph)
            for number, seeds in enumerate(self._batches(graph)):
                yield Example(
                    Neighborhood(graph, in_edges, seeds, self.fanouts, self.seed + number),
                    None if labels is None else [labels[node] for node in seeds.tolist()],
                    f"{example.key}:{number}",
                )

    def _batches(self, graph: Graph) -> list[Indices]:
        labelled = graph.labelled
        nodes = list(range(graph.num_nodes)) if labelled is None else np.flatnonzero(labelled)
        order = [int(node) for node in nodes]
        if self.shuffle:
            random.Random(self.seed).shuffle(order)
        cuts = range(self.batch_nodes, len(order), self.batch_nodes)
        return np.split(np.array(order, dtype=np.int64), cuts) if order else []
