"""What the training graphs hold: columns, vocabularies, means. Later graphs must hold the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.graph import Graph
from seqattn.graph_checks import is_sparse

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]

_OF_NODES = ("features", "categories")
_OF_EDGES = ("edge_weight", "edge_attr", "edge_categories")


class GraphSchema:
    """Columns of nodes and edges, learned from the training graphs and kept in checkpoints.

    Args:
        standardize: whether mean and deviation of the feature columns are learned.
    """

    def __init__(self, *, standardize: bool = False) -> None:
        self.standardize = standardize
        self.is_fitted = False
        self.columns = dict.fromkeys((*_OF_NODES, *_OF_EDGES), 0)
        self.categories: list[list[str]] = []
        self.edge_categories: list[list[str]] = []
        self.means: Floats = np.empty(0)
        self.deviations: Floats = np.empty(0)

    def fit(self, graphs: Iterable[Graph]) -> None:
        """Learn columns, vocabularies and, where wished, means and deviations over all nodes.

        Raises:
            ValueError: if there is no graph, or one has other columns than those before it.
        """
        columns: dict[str, int] = {}
        nodes, edges, moments = _Names(), _Names(), _Moments()
        is_empty = True
        for graph in graphs:
            is_empty = False
            _require_columns(graph, columns)
            columns |= _columns_of(graph)
            nodes.add(graph.categories)
            edges.add(graph.edge_categories)
            if self.standardize and graph.features is not None:
                moments.add(_to_dense(graph.features))
        if is_empty:
            raise ValueError("sources must hold at least one training graph, got none")
        self.columns |= columns
        self.categories, self.edge_categories = nodes.sorted(), edges.sorted()
        self.means, self.deviations = moments.means, moments.deviations
        self._index()

    def check(self, graph: Graph) -> None:
        """Check that a graph has what the training graphs have.

        A graph without nodes may lack what nodes have, one without edges what edges have.

        Raises:
            ValueError: if it lacks something, or has more.
        """
        _require_columns(graph, self.columns)

    def features(self, graph: Graph) -> Rows:
        """Return the dense features, standardised where that was learned. Shape: (n, F)."""
        if not graph.num_nodes or graph.features is None:
            return np.zeros((graph.num_nodes, self.columns["features"]), dtype=np.float32)
        dense: Rows = _to_dense(graph.features)
        if not self.standardize:
            return dense
        return ((dense - self.means) / self.deviations).astype(np.float32)

    def category_ids(self, graph: Graph) -> Rows:
        """Return the id of each category, 0 for one that training never had. Shape: (n, C)."""
        return _look_up(graph.categories, self._ids, graph.num_nodes)

    def edge_values(self, graph: Graph) -> Rows:
        """Return all columns of the edges: weight, numbers, and a column for each category.

        An edge has 1 in the column of its category, and in none for one that training never had.

        Shape:
            returns: (E, edge_width).
        """
        edges = graph.edge_index.shape[1]
        if not edges:
            return np.empty((0, self.edge_width), dtype=np.float32)
        numbers = [] if graph.edge_weight is None else [graph.edge_weight[:, None]]
        numbers += [] if graph.edge_attr is None else [graph.edge_attr]
        ids = _look_up(graph.edge_categories, self._edge_ids, edges)
        known = [
            column[:, None] == np.arange(1, len(names) + 1)
            for column, names in zip(ids.T, self.edge_categories, strict=True)
        ]
        return np.concatenate([*numbers, *known], axis=1, dtype=np.float32)

    @property
    def edge_width(self) -> int:
        """Columns of :meth:`edge_values`."""
        numbers = self.columns["edge_weight"] + self.columns["edge_attr"]
        return numbers + sum(map(len, self.edge_categories))

    def state(self) -> dict[str, Any]:
        """Return what was fitted, as data that JSON can hold."""
        return {
            "columns": self.columns,
            "categories": self.categories,
            "edge_categories": self.edge_categories,
            "means": self.means.tolist(),
            "deviations": self.deviations.tolist(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave."""
        self.columns = {name: int(state["columns"][name]) for name in self.columns}
        self.categories = [list(names) for names in state["categories"]]
        self.edge_categories = [list(names) for names in state["edge_categories"]]
        self.means = np.array(state["means"], dtype=np.float64)
        self.deviations = np.array(state["deviations"], dtype=np.float64)
        self._index()

    def _index(self) -> None:
        self._ids, self._edge_ids = (
            [{name: number for number, name in enumerate(names, 1)} for names in vocabularies]
            for vocabularies in (self.categories, self.edge_categories)
        )
        self.is_fitted = True


class _Names:
    """Collects the names in each column."""

    def __init__(self) -> None:
        self.columns: list[set[str]] = []

    def add(self, table: npt.NDArray[Any] | None) -> None:
        if table is None or not len(table):
            return
        self.columns = self.columns or [set() for _ in table.T]
        for column, names in zip(table.T, self.columns, strict=True):
            names.update(map(str, _distinct(column)[0]))

    def sorted(self) -> list[list[str]]:
        return [sorted(names) for names in self.columns]


class _Moments:
    """Mean and deviation of columns, from tables that come one by one (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.means: Floats = np.empty(0)
        self.squares: Floats = np.empty(0)

    def add(self, table: Rows) -> None:
        if not len(table):
            return
        means = table.mean(0, dtype=np.float64)
        squares = ((table - means) ** 2).sum(0)
        if not self.count:
            self.count, self.means, self.squares = len(table), means, squares
            return
        total = self.count + len(table)
        shift = means - self.means
        self.squares = self.squares + squares + shift**2 * self.count * len(table) / total
        self.means = self.means + shift * len(table) / total
        self.count = total

    @property
    def deviations(self) -> Floats:
        """Of a constant column 1."""
        return np.where(self.squares > 0, np.sqrt(self.squares / max(self.count, 1)), 1.0)


def _columns_of(graph: Graph) -> dict[str, int]:
    """Return the columns of what a graph has; none is known of nodes or edges that it has not."""
    found: dict[str, int] = {}
    for names, rows in ((_OF_NODES, graph.num_nodes), (_OF_EDGES, graph.edge_index.shape[1])):
        for name in names if rows else ():
            table = getattr(graph, name)
            found[name] = 0 if table is None else math.prod(table.shape[1:])
    return found


def _require_columns(graph: Graph, columns: dict[str, int]) -> None:
    for name, found in _columns_of(graph).items():
        expected = columns.get(name, found)
        if found == expected:
            continue
        rule = f"have {expected} column{'s' * (expected > 1)}" if expected else "be left out"
        got = f"{found} column{'s' * (found > 1)}" if found else "none"
        raise ValueError(f"{name} must {rule}, as in the training graphs, got {got}")


def _look_up(table: npt.NDArray[Any] | None, ids: Sequence[dict[str, int]], rows: int) -> Rows:
    """Return the id of each name, 0 for one that is not known. Shape: (rows, columns)."""
    found = np.zeros((rows, len(ids)), dtype=np.float32)
    if table is not None and rows:
        for place, numbers in enumerate(ids):
            names, places = _distinct(table[:, place])
            own = np.array([numbers.get(str(name), 0) for name in names], dtype=np.float32)
            found[:, place] = own[places]
    return found


def _distinct(column: npt.NDArray[Any]) -> tuple[list[Any], Any]:
    """Return values and which of them each row holds; each value once where they can be sorted."""
    if column.dtype == object:
        return column.tolist(), slice(None)
    values, places = np.unique(column, return_inverse=True)
    return values.tolist(), places


def _to_dense(features: Any) -> Any:
    return features.toarray() if is_sparse(features) else features
