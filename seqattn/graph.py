"""A graph as a raw source: arrays of nodes and edges, whatever library they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph: plain arrays, checked when it is vectorized.

    Args:
        num_nodes: n, isolated nodes included.
        edge_index: source row, then target row; every direction listed. Shape: (2, E) int64.
        features: floats of each node, a dense array or a scipy sparse matrix; None without.
            Shape: (n, F).
        categories: names or numbers that are embedded, a column per kind; None without.
            Shape: (n, C).
        edge_weight: Shape: (E,), or None.
        edge_attr: several floats per edge. Shape: (E, F), or None.
        edge_categories: names or numbers of each edge, a column per kind. Shape: (E, C), or None.
        labelled: nodes that carry a label in this split; None for all. Shape: (n,) bool.
        names: of the nodes, for pictures; None for their numbers.
    """

    num_nodes: int
    edge_index: npt.NDArray[np.int64]
    features: Any = None
    categories: npt.NDArray[Any] | None = None
    edge_weight: npt.NDArray[np.floating[Any]] | None = None
    edge_attr: npt.NDArray[np.floating[Any]] | None = None
    edge_categories: npt.NDArray[Any] | None = None
    labelled: npt.NDArray[np.bool_] | None = None
    names: tuple[str, ...] | None = None
