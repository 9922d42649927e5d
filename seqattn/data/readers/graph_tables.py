"""A graph from two tables: one of nodes, one of edges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.rows import Row, read_csv
from seqattn.data.readers.text_file import file_name
from seqattn.errors import DataError
from seqattn.graph import LARGEST, Graph, add_reverse


class NodeEdgeTables(Reader):
    """Reads one graph from a CSV or TSV file of nodes and one of edges, columns given by name.

    A file whose name ends in ``.tsv`` has tabs between its cells, any other commas.

    Args:
        path: the table of nodes.
        edges: the table of edges.
        node: column of the nodes' names.
        label: column of the nodes' labels; an empty cell is a node without one.
        features: columns of numbers of each node.
        categories: columns of names of each node.
        ends: columns of the edges' source and target.
        weight: column of the edges' weights.
        edge_features: columns of further numbers of each edge.
        edge_categories: columns of names of each edge.
        undirected: every row means both directions.

    Raises:
        ValueError: if `ends` does not name two columns.
    """

    def __init__(
        self,
        path: str,
        edges: str,
        *,
        node: str = "node",
        label: str | None = None,
        features: Sequence[str] = (),
        categories: Sequence[str] = (),
        ends: Sequence[str] = ("source", "target"),
        weight: str | None = None,
        edge_features: Sequence[str] = (),
        edge_categories: Sequence[str] = (),
        undirected: bool = True,
    ) -> None:
        if len(ends) != 2:
            raise ValueError(f"ends must name two columns, source and target, got {list(ends)}")
        self.path = path
        self.edges = edges
        self.node = node
        self.label = label
        self.features = list(features)
        self.categories = list(categories)
        self.ends = list(ends)
        self.weight = weight
        self.edge_features = list(edge_features)
        self.edge_categories = list(edge_categories)
        self.undirected = undirected

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if a file breaks its format, a column is missing, a number is none, a node
                comes twice or an edge names none; names the file and the line.
        """
        label = [self.label] if self.label else []
        nodes = _Columns(self.path, [self.node, *label, *self.features, *self.categories])
        numbers = nodes.number(self.node)
        weight = [self.weight] if self.weight else []
        edges = _Columns(
            self.edges, [*self.ends, *weight, *self.edge_features, *self.edge_categories]
        )
        index = edges.ends(self.ends, numbers)
        order = np.arange(index.shape[1])
        if self.undirected:
            index, order = add_reverse(index)
        labels = [text or None for text in nodes.texts(self.label)] if self.label else None
        weights = edges.floats(weight)
        graph = Graph(
            len(numbers),
            index,
            features=nodes.floats(self.features),
            categories=nodes.names(self.categories),
            edge_weight=None if weights is None else weights[order, 0],
            edge_attr=_take(edges.floats(self.edge_features), order),
            edge_categories=_take(edges.names(self.edge_categories), order),
            labelled=None if labels is None else np.array([name is not None for name in labels]),
            names=tuple(numbers),
        )
        yield Example(graph, labels, file_name(self.path))


class _Columns:
    """The rows of a table, by column.

    Args:
        path: the file.
        wanted: its columns that are read.
    """

    def __init__(self, path: str, wanted: Sequence[str]) -> None:
        self.path = path
        tabs = path.removesuffix(".gz").endswith(".tsv")
        names = list(dict.fromkeys(wanted))
        self.rows: list[Row] = list(
            read_csv(path, names, tabs=tabs, columns=None, encoding="utf-8")
        )

    def texts(self, column: str) -> list[str]:
        return [str(cells[column]) for _, cells in self.rows]

    def names(self, columns: Sequence[str]) -> npt.NDArray[Any] | None:
        """Return cells as names (N, C), or None without a column."""
        if not columns:
            return None
        return np.array([[cells[name] for name in columns] for _, cells in self.rows])

    def floats(self, columns: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return cells as numbers (N, F), or None without a column."""
        if not columns:
            return None
        table = [
            [self._float(name, cells[name], line) for name in columns] for line, cells in self.rows
        ]
        return np.array(table, dtype=np.float32).reshape(-1, len(columns))

    def number(self, column: str) -> dict[str, int]:
        """Return the number of each node."""
        numbers: dict[str, int] = {}
        for line, cells in self.rows:
            name = str(cells[column])
            if name in numbers:
                raise self._error(f"a node must have one row, got {name!r} again", line)
            numbers[name] = len(numbers)
        return numbers

    def ends(self, columns: Sequence[str], numbers: dict[str, int]) -> npt.NDArray[np.int64]:
        """Return the numbers of both ends of every edge (2, E)."""
        for line, cells in self.rows:
            for column in columns:
                if cells[column] not in numbers:
                    raise self._error(
                        f"column {column!r} must name a node of the table of nodes, "
                        f"got {cells[column]!r}",
                        line,
                    )
        pairs = [[numbers[cells[column]] for _, cells in self.rows] for column in columns]
        return np.array(pairs, dtype=np.int64).reshape(2, -1)

    def _float(self, column: str, cell: str, line: int) -> float:
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not abs(number) <= LARGEST:
            raise self._error(
                f"column {column!r} must be a finite number in 32 bits, got {cell!r}", line
            )
        return number

    def _error(self, message: str, line: int) -> DataError:
        return DataError(message, path=self.path, line=line)


def _take(table: npt.NDArray[Any] | None, rows: npt.NDArray[np.int64]) -> Any:
    return None if table is None else table[rows]
