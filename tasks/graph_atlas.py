"""Is a graph connected, bipartite, planar? All graphs of up to seven nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from seqattn import Example, Graph
from seqattn.data import Reader, Split

_TEST = _VAL = 250


class GraphAtlas(Reader):
    """The graphs of up to seven nodes, each with those of three properties that it has.

    They are networkx's copy of Read and Wilson's atlas (1998): one of each shape, 1,252 without
    the graph of no node, which is neither connected nor not. The truth is networkx's. Most are
    connected and planar, and few bipartite, so look at each label's own score. There is nothing
    to download.

    Args:
        split: 250 graphs are ``test``, another 250 ``val``.
        seed: decides which.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, split: Literal["train", "val", "test"], *, seed: int = 0) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        held_out = Split(AllGraphs(), "held_out", _TEST, seed=seed)
        rest = Split(AllGraphs(), "train", _TEST, seed=seed)
        part: Literal["train", "held_out"] = "train" if split == "train" else "held_out"
        self.reader = held_out if split == "test" else Split(rest, part, _VAL, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the graphs."""
        yield from self.reader.read()


class AllGraphs(Reader):
    """Every graph of the atlas that has a node, in its order; the key is its number there."""

    def read(self) -> Iterator[Example]:
        """Yield the graphs.

        Raises:
            ModuleNotFoundError: if networkx is not installed.
        """
        import networkx

        for number, graph in enumerate(networkx.graph_atlas_g()):
            if len(graph):
                yield Example(to_graph(graph), properties(graph), f"G{number}")


def properties(graph: Any) -> list[str]:
    """Return which of ``bipartite``, ``connected`` and ``planar`` a networkx graph is."""
    import networkx

    tests = {
        "bipartite": networkx.is_bipartite,
        "connected": networkx.is_connected,
        "planar": networkx.is_planar,
    }
    return [name for name, holds in tests.items() if holds(graph)]


def to_graph(graph: Any) -> Graph:
    """Return an undirected networkx graph, whose nodes are 0, 1, 2 … and all of one category."""
    index = np.array(graph.edges, dtype=np.int64).reshape(-1, 2).T
    return Graph(
        len(graph),
        np.concatenate([index, index[::-1]], axis=1),
        categories=np.full((len(graph), 1), "node"),
    )
