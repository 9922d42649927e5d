"""Who belongs together? Characters of Les Misérables who appear in the same scenes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from seqattn import Example, Graph
from seqattn.data import NodeSplit, Reader, ShownLabels


class LesMiserables(Reader):
    """The 77 characters of networkx's co-appearance graph, each labelled with its community.

    An edge weighs the number of chapters in which two characters appear together (Knuth 1993). The
    communities are those of greatest modularity that Louvain's method finds, from a fixed seed
    (Blondel et al. 2008): a function of the weighted graph alone. So the task is on every
    machine, without a download.

    The communities of the training characters are an input too (see
    :class:`~seqattn.data.ShownLabels`): nothing else is known of a character.

    Args:
        split: which characters are labelled.
        train: part of the characters whose community is known.
        val: part of the characters to validate on; the others are ``test``.
        seed: decides who is where.
        shown: part of the known communities that is shown in training, to tell the others.
    """

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        *,
        train: float = 0.5,
        val: float = 0.0,
        seed: int = 0,
        shown: float = 0.5,
    ) -> None:
        known = NodeSplit(Characters(), "train", train, val, seed=seed)
        mine = NodeSplit(Characters(), split, train, val, seed=seed)
        self.reader = ShownLabels(mine, known, shown)

    def read(self) -> Iterator[Example]:
        """Yield the graph."""
        yield from self.reader.read()


class Characters(Reader):
    """The graph with the community of every character."""

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            ModuleNotFoundError: if networkx is not installed.
        """
        import networkx

        graph = networkx.les_miserables_graph()
        communities = networkx.community.louvain_communities(graph, weight="weight", seed=0)
        community_of = {
            name: str(number) for number, names in enumerate(communities) for name in names
        }
        names = list(graph)
        number_of = {name: number for number, name in enumerate(names)}
        both = [*graph.edges(data="weight"), *((b, a, w) for a, b, w in graph.edges(data="weight"))]
        index = [[number_of[first], number_of[second]] for first, second, _ in both]
        source = Graph(
            len(names),
            np.array(index, dtype=np.int64).T,
            edge_weight=np.array([weight for _, _, weight in both], dtype=np.float32),
            names=tuple(names),
        )
        yield Example(source, [community_of[name] for name in names], "les_miserables")
