"""Neighbour sampling: the part of a large graph that some of its nodes read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seqattn.graph import Graph

Indices = npt.NDArray[np.int64]

ALL = -1
"""The fan-out that takes all neighbours, as in PyG."""


@dataclass(frozen=True, eq=False)
class InEdges:
    """The edges of a graph by target, in compressed row form.

    Args:
        starts: first entry of each target. Shape: (n + 1,).
        order: number of the edge of each entry. Shape: (E,).
    """

    starts: Indices
    order: Indices

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Sort the edges of a graph by target.

        Raises:
            ValueError: if an edge leaves the graph.
        """
        index, total = graph.edge_index, graph.num_nodes
        if index.size and not (index.min() >= 0 and index.max() < total):
            raise ValueError(
                f"edge_index must lie in 0 … {total - 1}, got {index.min()} … {index.max()}"
            )
        counts = np.bincount(index[1], minlength=total)
        starts = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        return cls(starts, np.argsort(index[1], kind="stable"))

    def take(self, targets: Indices, fanout: int, rng: np.random.Generator) -> Indices:
        """Return the edges that end at some nodes, at most `fanout` of each, none twice.

        Shape:
            targets (N,). returns: (number of edges,), in the order of the targets.
        """
        first = self.starts[targets]
        counts = self.starts[targets + 1] - first
        is_large = counts > fanout if fanout != ALL else np.zeros(len(targets), dtype=np.bool_)
        kept = np.where(is_large, fanout, counts)
        owners = np.repeat(np.arange(len(targets)), kept)
        ranks = np.arange(len(owners)) - np.repeat(kept.cumsum() - kept, kept)
        if is_large.any():
            ranks[is_large[owners]] = choose_distinct(counts[is_large], fanout, rng).ravel()
        edges: Indices = self.order[first[owners] + ranks]
        return edges


def choose_distinct(totals: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Return for each row `count` different numbers below its total, every set equally likely.

    Floyd's algorithm (Bentley and Floyd 1987, "A sample of brilliance"), on all rows at once: its
    cost does not depend on the totals.

    Shape:
        totals (N,), each at least `count`. returns: (N, count).
    """
    chosen = np.empty((len(totals), count), dtype=np.int64)
    for step in range(count):
        last = totals - count + step
        drawn = rng.integers(0, last + 1)
        is_taken = (chosen[:, :step] == drawn[:, None]).any(1)
        chosen[:, step] = np.where(is_taken, last, drawn)
    return chosen


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Some nodes of a large graph with what they read within some hops, another at every draw.

    Many neighbourhoods share one graph, also when they are pickled together.

    Args:
        graph: the large graph.
        in_edges: its edges by target.
        seeds: the nodes to be labelled, in the order of the example's targets. Shape: (N,).
        fanouts: edges that are taken at most of each node, hop by hop; :data:`ALL` for all.
        seed: of the fixed draw for evaluation.
    """

    graph: Graph
    in_edges: InEdges
    seeds: Indices
    fanouts: tuple[int, ...]
    seed: int

    @property
    def num_nodes(self) -> int:
        """Return the most nodes that a sample has."""
        frontier = total = len(self.seeds)
        for fanout in self.fanouts:
            if fanout == ALL:
                return self.graph.num_nodes
            frontier *= fanout
            total += frontier
        return min(total, self.graph.num_nodes)

    def sample(self, draw: int | None = None) -> Graph:
        """Return the seeds and what they read as a graph of its own, the seeds first and labelled.

        An edge is in it if it was taken on the way from a seed; the outermost nodes read nothing.
        An encoder of as many layers as hops, whose fan-outs take all, gives the seeds what it
        gives them in the large graph.
        """
        rng = np.random.default_rng(self.seed if draw is None else draw)
        nodes = frontier = self.seeds
        taken = []
        for fanout in self.fanouts:
            edges = self.in_edges.take(frontier, fanout, rng)
            taken.append(edges)
            frontier = np.setdiff1d(self.graph.edge_index[0, edges], nodes)
            nodes = np.concatenate([nodes, frontier])
        edges = np.concatenate(taken)
        return replace(
            _select_nodes(self.graph, nodes),
            edge_index=_renumber(self.graph.edge_index[:, edges], nodes),
            edge_weight=_rows(self.graph.edge_weight, edges),
            edge_attr=_rows(self.graph.edge_attr, edges),
            edge_categories=_rows(self.graph.edge_categories, edges),
            labelled=np.arange(len(nodes)) < len(self.seeds),
        )


def _select_nodes(graph: Graph, nodes: Indices) -> Graph:
    names = graph.names
    return replace(
        graph,
        num_nodes=len(nodes),
        features=_rows(graph.features, nodes),
        categories=_rows(graph.categories, nodes),
        names=None if names is None else tuple(names[node] for node in nodes.tolist()),
    )


def _rows(table: Any, rows: Indices) -> Any:
    return None if table is None else table[rows]


def _renumber(edge_index: Indices, nodes: Indices) -> Indices:
    """Return edges between the places of the nodes. Shape: (2, E)."""
    by_number = np.argsort(nodes)
    found: Indices = by_number[np.searchsorted(nodes, edge_index, sorter=by_number)]
    return found


def require_fanouts(fanouts: Sequence[int]) -> None:
    """Check fan-outs.

    Raises:
        ValueError: if there is none, or one is neither positive nor :data:`ALL`.
    """
    if not fanouts or any(fanout < 1 and fanout != ALL for fanout in fanouts):
        raise ValueError(
            f"fanouts must hold a number from 1, or {ALL} for all, for each hop, "
            f"got {list(fanouts)}"
        )
