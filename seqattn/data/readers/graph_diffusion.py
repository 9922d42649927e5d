"""Edges to the nodes that a random walk reaches, in place of those to direct neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.graph_split import require_graph
from seqattn.errors import DataError
from seqattn.graph import Graph

_BLOCK = 512  # nodes whose walks are followed at a time
_TOLERANCE = 1e-3  # of the probability that is left out


class Diffused(Reader):
    """Gives graphs in which a node reads those that a walk with restarts from it reaches most.

    Personalised PageRank (Gasteiger et al. 2019, "Diffusion improves graph learning", section 3):
    the weights of the new edges are those of ``a (1 - (1 - a) T)^-1`` with
    ``T = D^-1/2 (A + 1) D^-1/2`` and a the probability of a restart. The edges are taken without
    direction; their weights count, their columns and categories are dropped.

    Args:
        reader: gives graphs.
        restart: probability of a restart, a; the lower, the farther a walk goes.
        neighbors: how many edges into each node are kept, the heaviest, itself among them.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(self, reader: Reader, restart: float = 0.15, neighbors: int = 32) -> None:
        if not 0 < restart < 1:
            raise ValueError(f"restart must lie between 0 and 1, got {restart}")
        if neighbors < 1:
            raise ValueError(f"neighbors must be at least 1, got {neighbors}")
        self.reader = reader
        self.restart = restart
        self.neighbors = neighbors

    def read(self) -> Iterator[Example]:
        """Yield the graphs.

        Raises:
            DataError: if a source is no graph or breaks a rule, or an edge weight is negative;
                names its key.
            ModuleNotFoundError: if scipy is not installed.
        """
        for example in self.reader.read():
            graph = require_graph(example)
            weight = graph.edge_weight
            if weight is not None and (weight < 0).any():
                edge = int((weight < 0).argmax())
                raise DataError(
                    f"edge_weight must not be negative, got {weight[edge]} at edge {edge}",
                    key=example.key,
                )
            yield replace(example, source=self._diffuse(graph))

    def _diffuse(self, graph: Graph) -> Graph:
        walk = _normalized_adjacency(graph)
        blocks = []
        for start in range(0, graph.num_nodes, _BLOCK):
            block = np.arange(start, min(start + _BLOCK, graph.num_nodes))
            reached = np.ascontiguousarray(self._follow(walk, block).T)
            blocks.append(self._heaviest(reached, block))
        columns = [np.concatenate(part) for part in zip(*blocks, strict=True)]
        source, target, weight = columns or [np.empty(0, np.int64)] * 2 + [np.empty(0)]
        return replace(
            graph,
            edge_index=np.stack([source, target]),
            edge_weight=weight.astype(np.float32),
            edge_attr=None,
            edge_categories=None,
        )

    def _follow(self, walk: Any, block: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the PageRank of every node for some of them. Shape: (n, number of these)."""
        begin = np.zeros((walk.shape[0], len(block)))
        begin[block, np.arange(len(block))] = self.restart
        reached = begin
        for _ in range(int(np.log(_TOLERANCE) / np.log(1 - self.restart)) + 1):
            reached = (1 - self.restart) * (walk @ reached) + begin
        return reached

    def _heaviest(
        self, reached: npt.NDArray[np.float64], block: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return source, target and weight of the edges that are kept."""
        count = min(self.neighbors, reached.shape[1])
        source = np.argpartition(-reached, count - 1, axis=1)[:, :count]  # (block, count)
        weight = np.take_along_axis(reached, source, axis=1)
        is_reached = weight > 0
        target = np.broadcast_to(block[:, None], source.shape)
        return source[is_reached], target[is_reached], weight[is_reached]


def _normalized_adjacency(graph: Graph) -> Any:
    """Return D^-1/2 (A + 1) D^-1/2 of the graph without directions, sparse. Shape: (n, n)."""
    from scipy.sparse import coo_matrix, diags, identity

    weights = np.ones(graph.edge_index.shape[1])
    if graph.edge_weight is not None:
        weights = graph.edge_weight.astype(np.float64)
    size = graph.num_nodes
    given = coo_matrix((weights, tuple(graph.edge_index)), shape=(size, size)).tocsr()
    adjacency = given.maximum(given.T) + identity(size)
    scale = diags(np.asarray(adjacency.sum(1)).ravel() ** -0.5)
    return (scale @ adjacency @ scale).tocsr()
