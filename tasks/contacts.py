"""Which class is a pupil in? Contacts at a primary school (SocioPatterns), half of them known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqattn import DataError, Example, Graph
from seqattn.data import ContactList, NodeSplit, Reader, ShownLabels

ORIGIN = (
    "https://github.com/francescoferrini/"
    "GNN-for-binary-classification-on-social-interactions-datasets"
)


class Contacts(Reader):
    """One graph of persons and their contacts, each person with a class.

    The classes of the training persons are an input too (see
    :class:`~seqattn.data.ShownLabels`): nothing else is known of a person.

    Args:
        path: the file of contacts.
        split: which persons are labelled.
        train: part of the persons whose class is known.
        val: part of the persons to validate on; the others are ``test``.
        seed: decides who is where, and how weights are shuffled.
        shown: part of the known classes that is shown in training, to tell the others.
        power: an edge weighs the number of contacts to this power; below 1 the most frequent
            contacts, which are a matter of few friends, count for less.
        shuffle_weights: give every weight to another pair of persons: who met stays, how often
            does not.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        train: float = 0.5,
        val: float = 0.0,
        seed: int = 0,
        shown: float = 0.5,
        power: float = 1.0,
        shuffle_weights: bool = False,
    ) -> None:
        self.path = path
        contacts = _Weighed(path, power, seed if shuffle_weights else None)
        known = NodeSplit(contacts, "train", train, val, seed=seed)
        self.reader = ShownLabels(NodeSplit(contacts, split, train, val, seed=seed), known, shown)

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if the file is missing or breaks its format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()


class _Weighed(Reader):
    """The graph of contacts with the task's weights.

    Args:
        path: the file of contacts.
        power: of the weights.
        seed: of their order, None to leave it.
    """

    def __init__(self, path: str, power: float, seed: int | None) -> None:
        if not power > 0:
            raise ValueError(f"power must be above 0, got {power}")
        self.path = path
        self.power = power
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the graph."""
        for example in ContactList(self.path).read():
            graph = example.source
            weights = graph.edge_weight if self.seed is None else shuffle_weights(graph, self.seed)
            assert weights is not None
            yield replace(example, source=replace(graph, edge_weight=weights**self.power))


def shuffle_weights(graph: Graph, seed: int) -> npt.NDArray[np.float32]:
    """Return the weights in another order, equal in both directions of an edge. Shape: (E,)."""
    pairs, pair_of = np.unique(np.sort(graph.edge_index, axis=0), axis=1, return_inverse=True)
    weights = np.empty(pairs.shape[1], dtype=np.float32)
    weights[pair_of.reshape(-1)] = graph.edge_weight
    found: npt.NDArray[np.float32] = np.random.default_rng(seed).permutation(weights)
    return found[pair_of.reshape(-1)]
