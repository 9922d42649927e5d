"""Small graphs that the tests of the graph front-end share."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqattn import Graph


def edges(*pairs: tuple[int, int]) -> np.ndarray:
    """Edges as listed, source and target. Shape: (2, E)."""
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def both(*pairs: tuple[int, int]) -> np.ndarray:
    """Edges in both directions. Shape: (2, 2 * E)."""
    return edges(*pairs, *((target, source) for source, target in pairs))


def path(nodes: int) -> np.ndarray:
    return both(*((node, node + 1) for node in range(nodes - 1)))


def cycle(nodes: int) -> np.ndarray:
    return both(*((node, (node + 1) % nodes) for node in range(nodes)))


def plain(nodes: int, **arguments: Any) -> Graph:
    """A path without features."""
    return Graph(nodes, path(nodes), **arguments)


def rich(nodes: int, seed: int = 0) -> Graph:
    """A random directed graph with everything but labels, loops and edges that come twice too."""
    random = np.random.default_rng(seed)
    count = 3 * nodes
    return Graph(
        nodes,
        random.integers(0, max(nodes, 1), (2, count)),
        features=random.normal(size=(nodes, 3)).astype(np.float32),
        categories=random.choice(["x", "y", "z"], (nodes, 2)),
        edge_weight=random.random(count).astype(np.float32),
        edge_attr=random.normal(size=(count, 2)).astype(np.float32),
        edge_categories=random.choice(["single", "double"], (count, 1)),
    )


def renumber(graph: Graph, order: np.ndarray) -> Graph:
    """The same graph, whose node i was node order[i]; the edges shuffled along."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    shuffled = np.random.default_rng(0).permutation(graph.edge_index.shape[1])

    def of_nodes(table: Any) -> Any:
        return None if table is None else table[order]

    def of_edges(table: Any) -> Any:
        return None if table is None else table[shuffled]

    return Graph(
        graph.num_nodes,
        place[graph.edge_index[:, shuffled]],
        features=of_nodes(graph.features),
        categories=of_nodes(graph.categories),
        edge_weight=of_edges(graph.edge_weight),
        edge_attr=of_edges(graph.edge_attr),
        edge_categories=of_edges(graph.edge_categories),
        labelled=of_nodes(graph.labelled),
    )
