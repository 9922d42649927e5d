"""A graph as a raw source: arrays of nodes and edges, whatever library they came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

LARGEST = float(np.finfo(np.float32).max)
"""The largest number of a graph, which holds them in 32 bits."""


class DataFrame(Protocol):
    """A table as pandas and Polars have it."""

    @property
    def columns(self) -> Iterable[Any]:
        """The names of its columns."""

    def __getitem__(self, column: Any, /) -> Iterable[Any]:
        """Return the values of a column."""


Table = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | DataFrame
"""Rows, each with its columns by name; columns by name; or a data frame."""


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

    @classmethod
    def from_tables(
        cls,
        nodes: Table,
        edges: Table,
        *,
        id_column: str = "id",
        source_column: str = "source",
        target_column: str = "target",
        feature_columns: Sequence[str] = (),
        category_columns: Sequence[str] = (),
        weight_column: str | None = None,
        edge_attr_columns: Sequence[str] = (),
        edge_category_columns: Sequence[str] = (),
        directed: bool = True,
    ) -> Self:
        """Make the graph of a node table and an edge table, its nodes in the order of their rows.

        Args:
            nodes: one row per node.
            edges: one row per edge.
            id_column: names a node; unique.
            source_column: id of the node that an edge comes from.
            target_column: id of the node that it goes to.
            feature_columns: numbers of a node.
            category_columns: names or numbers of a node that are embedded.
            weight_column: weight of an edge.
            edge_attr_columns: numbers of an edge.
            edge_category_columns: names or numbers of an edge.
            directed: False gives every edge its reverse too, for tables that list each pair once.

        Raises:
            TypeError: if one string is given where a list of columns is wanted.
            ValueError: if a column is missing, an id comes twice, an edge names no node, or a
                number is none or not finite in 32 bits; names table, row (from 0) and column.
        """
        require_list("feature_columns", feature_columns)
        require_list("category_columns", category_columns)
        require_list("edge_attr_columns", edge_attr_columns)
        require_list("edge_category_columns", edge_category_columns)
        node_table, edge_table = _Columns("nodes", nodes), _Columns("edges", edges)
        numbers = node_table.number_unique(id_column)
        ends = [edge_table.look_up(name, numbers) for name in (source_column, target_column)]
        edge_index = np.array(ends, dtype=np.int64).reshape(2, -1)
        order = np.arange(edge_index.shape[1])
        if not directed:
            edge_index, order = add_reverse(edge_index)
        weight = edge_table.floats([weight_column] if weight_column is not None else [])
        attr = edge_table.floats(edge_attr_columns)
        categories = edge_table.objects(edge_category_columns)
        return cls(
            num_nodes=len(numbers),
            edge_index=edge_index,
            features=node_table.floats(feature_columns),
            categories=node_table.objects(category_columns),
            edge_weight=None if weight is None else weight[order, 0],
            edge_attr=None if attr is None else attr[order],
            edge_categories=None if categories is None else categories[order],
            names=tuple(str(name) for name in numbers),
        )


@runtime_checkable
class Sampled(Protocol):
    """A raw source that is a new graph at each draw, such as a neighbourhood of a large graph."""

    @property
    def num_nodes(self) -> int:
        """Nodes that a draw has at most, for the token budget."""

    def sample(self, draw: int | None) -> Graph:
        """Return the graph of a draw; of None, the same one every time."""


def from_pyg(data: Any) -> Graph:
    """Return the graph of a PyG ``Data``: its `x`, `edge_index`, `edge_attr` and `edge_weight`.

    Whole numbers in `x` and `edge_attr` are categories, floats features, each node or edge a row.
    The edges' weight may also be called `weight`.

    Raises:
        TypeError: if it is a ``Batch`` of several.
        ValueError: if there is no `edge_index`.
    """
    if hasattr(data, "to_data_list"):
        raise TypeError(
            f"a PyG Data must be one graph, got a batch of {data.num_graphs}: "
            "give batch.to_data_list()"
        )
    if data.edge_index is None:
        raise ValueError("edge_index of a PyG Data must be given, got None")
    x, attr = _rows_of(data.x), _rows_of(data.edge_attr)
    weight = data.edge_weight if data.get("edge_weight") is not None else data.get("weight")
    return Graph(
        num_nodes=int(data.num_nodes or 0),
        edge_index=_to_array(data.edge_index),
        features=None if _is_whole(x) else x,
        categories=x if _is_whole(x) else None,
        edge_weight=None if weight is None else _to_array(weight).reshape(-1),
        edge_attr=None if _is_whole(attr) else attr,
        edge_categories=attr if _is_whole(attr) else None,
    )


def add_reverse(
    edge_index: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the edges with the reverse of each that is no loop, and the number each stems from.

    Shape:
        edge_index (2, E). returns: (2, E'), and (E',) to index the edges' values with.
    """
    other = np.flatnonzero(edge_index[0] != edge_index[1])
    order = np.concatenate([np.arange(edge_index.shape[1]), other])
    return np.concatenate([edge_index, edge_index[::-1, other]], axis=1), order


def require_list(name: str, columns: Sequence[str]) -> None:
    """Check that columns are listed.

    Raises:
        TypeError: if they are one string.
    """
    if isinstance(columns, str):
        raise TypeError(f"{name} must be a list of columns, got one string: [{columns!r}]")


def _to_array(tensor: Any) -> npt.NDArray[Any]:
    dense = tensor.detach().cpu().to_dense()
    if dense.is_floating_point() and dense.dtype.itemsize < 4:  # NumPy has no bfloat16
        dense = dense.float()
    found: npt.NDArray[Any] = dense.numpy()
    return found


def _rows_of(tensor: Any) -> npt.NDArray[Any] | None:
    """Return a tensor as an array of rows; None without."""
    if tensor is None:
        return None
    values = _to_array(tensor)
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _is_whole(values: npt.NDArray[Any] | None) -> bool:
    return values is not None and values.dtype.kind in "iu"


class _Columns:
    """One table by column, whichever way it was given.

    Args:
        name: what errors call it.
        table: the rows, or the columns.
    """

    table: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]

    def __init__(self, name: str, table: Any) -> None:
        if hasattr(table, "columns"):
            table = {column: list(table[column]) for column in table.columns}
        self.name = name
        self.table = table
        if isinstance(table, Mapping):
            lengths = {column: len(values) for column, values in table.items()}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"the columns of {name} must be equally long, got {lengths}")
            self.length = next(iter(lengths.values()), 0)
        else:
            self.length = len(table)

    def values(self, column: str) -> list[Any]:
        """Return a column."""
        if isinstance(self.table, Mapping):
            if column not in self.table:
                known = sorted(self.table)
                raise ValueError(f"{self.name} must have the column {column!r}, got {known}")
            return list(self.table[column])
        for number, row in enumerate(self.table):
            if column not in row:
                place = f"{self.name}[{number}]"
                raise ValueError(f"{place} must have the column {column!r}, got {sorted(row)}")
        return [row[column] for row in self.table]

    def number_unique(self, column: str) -> dict[Any, int]:
        """Return the row of each value of a column in which none comes twice."""
        rows: dict[Any, int] = {}
        for number, value in enumerate(self.values(column)):
            first = rows.setdefault(value, number)
            if first != number:
                raise ValueError(
                    f"{column!r} of {self.name}[{number}] must be unique, "
                    f"got {value!r} as in {self.name}[{first}]"
                )
        return rows

    def look_up(self, column: str, numbers: Mapping[Any, int]) -> list[int]:
        """Return the number of each value of a column."""
        values = self.values(column)
        for number, value in enumerate(values):
            if value not in numbers:
                raise ValueError(
                    f"{column!r} of {self.name}[{number}] must be the id of a node, got {value!r}"
                )
        return [numbers[value] for value in values]

    def floats(self, columns: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return columns of finite numbers (rows, columns), or None for no column."""
        if not columns:
            return None
        found = [
            [self._number(column, row, value) for row, value in enumerate(self.values(column))]
            for column in columns
        ]
        return np.array(found, dtype=np.float32).T

    def objects(self, columns: Sequence[str]) -> npt.NDArray[Any] | None:
        """Return columns of whatever they hold (rows, columns), or None for no column."""
        if not columns:
            return None
        found = np.empty((self.length, len(columns)), dtype=object)
        for place, column in enumerate(columns):
            found[:, place] = self.values(column)
        return found

    def _number(self, column: str, row: int, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not abs(number) <= LARGEST:
            raise ValueError(
                f"{column!r} of {self.name}[{row}] must be a finite number in 32 bits, "
                f"got {value!r}"
            )
        return number
