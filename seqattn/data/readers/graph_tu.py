"""Sets of graphs in the format of TUDataset: text files of all graphs, in a zip or a folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import missing_file
from seqattn.errors import DataError
from seqattn.graph import LARGEST, Graph

_REQUIRED = ("A", "graph_indicator", "graph_labels")


class TuZip(Reader):
    """Gives the graphs of a TUDataset, each with its label (Morris et al. 2020, section 2).

    Node labels become categories of the nodes, node attributes their features; edge labels become
    categories of the edges, edge attributes their `edge_attr`, but for the column that is their
    weight. Files are found by the ends of their names, wherever they lie in the zip.

    Args:
        path: the zip, or the folder of the unpacked files.
        weight: column of the edge attributes that is the edges' weight; None for none.
    """

    def __init__(self, path: str, *, weight: int | None = None) -> None:
        self.path = path
        self.weight = weight

    def read(self) -> Iterator[Example]:
        """Yield the graphs in order; their keys are the set's name and their number from 1.

        Raises:
            DataError: if a file is missing, a line is no number, the files do not fit each other,
                an edge leaves its graph, or there is no such column; names the file and the line.
        """
        files = _TuFiles(self.path)
        owners = files.integers("graph_indicator")[:, 0] - 1
        labels = files.texts("graph_labels")
        _require_order(files, owners, len(labels))
        edges = files.integers("A") - 1
        if edges.shape[1] != 2:
            raise files.error("A", "a line must hold two nodes", 1)
        edge_owners = _owners_of_edges(files, edges, owners)
        by_graph = np.argsort(edge_owners, kind="stable")
        tables = self._tables(files, len(owners), len(edges))
        node_bounds = np.searchsorted(owners, np.arange(len(labels) + 1))
        edge_bounds = np.searchsorted(edge_owners[by_graph], np.arange(len(labels) + 1))
        for number, label in enumerate(labels):
            start, end = node_bounds[number : number + 2]
            kept = by_graph[slice(*edge_bounds[number : number + 2])]
            graph = _cut(tables, slice(start, end), kept, (edges[kept] - start).T)
            yield Example(graph, label.removeprefix("+"), f"{files.name}:{number + 1}")

    def _tables(self, files: _TuFiles, num_nodes: int, num_edges: int) -> Graph:
        """Return the tables of all graphs as one of them."""
        attributes = files.floats("edge_attributes", num_edges)
        weights = None
        if self.weight is not None:
            columns = 0 if attributes is None else attributes.shape[1]
            if attributes is None or not 0 <= self.weight < columns:
                raise DataError(
                    f"weight must be one of {columns} columns of the edge attributes, "
                    f"got {self.weight}",
                    path=self.path,
                )
            weights = attributes[:, self.weight]
            attributes = np.delete(attributes, self.weight, axis=1) if columns > 1 else None
        return Graph(
            num_nodes,
            np.empty((2, 0), dtype=np.int64),
            features=files.floats("node_attributes", num_nodes),
            categories=files.categories("node_labels", num_nodes),
            edge_weight=weights,
            edge_attr=attributes,
            edge_categories=files.categories("edge_labels", num_edges),
        )


class _TuFiles:
    """The text files of a set, by what their names end in."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._texts = _read_texts(path)
        found = [name for name in self._texts if name.endswith("_graph_indicator.txt")]
        if len(found) != 1:
            raise DataError(
                f"there must be one NAME_graph_indicator.txt, got {found or 'none'}", path=path
            )
        self.name = found[0].removesuffix("_graph_indicator.txt")
        for part in _REQUIRED:
            if self._file(part) not in self._texts:
                raise DataError(f"there must be a file {self._file(part)}, got none", path=path)

    def texts(self, part: str) -> list[str]:
        """Return the lines of a file."""
        return [line.strip() for line in self._texts[self._file(part)].splitlines()]

    def integers(self, part: str) -> npt.NDArray[np.int64]:
        """Return the lines of a file as integers. Shape: (number of lines, columns)."""
        found: npt.NDArray[np.int64] = self._table(part, int)
        return found

    def floats(self, part: str, count: int) -> npt.NDArray[np.float32] | None:
        """Return the lines of a file as finite floats, None without the file."""
        if self._file(part) not in self._texts:
            return None
        table = self._table(part, float)
        self._require_count(part, table, count)
        wrong = np.flatnonzero(~(abs(table) <= LARGEST).all(1))
        if len(wrong):
            line = int(wrong[0])
            raise self.error(
                part, f"numbers must be finite in 32 bits, got {table[line].tolist()}", line + 1
            )
        return np.asarray(table, dtype=np.float32)

    def categories(self, part: str, count: int) -> npt.NDArray[np.int64] | None:
        """Return the lines of a file as integers, None without the file."""
        if self._file(part) not in self._texts:
            return None
        table = self.integers(part)
        self._require_count(part, table, count)
        return table

    def error(self, part: str, message: str, line: int | None = None) -> DataError:
        """Return an error in a file."""
        return DataError(message, path=f"{self.path}/{self._file(part)}", line=line)

    def _file(self, part: str) -> str:
        return f"{self.name}_{part}.txt"

    def _require_count(self, part: str, table: npt.NDArray[Any], count: int) -> None:
        if len(table) != count:
            raise self.error(part, f"there must be {count} lines, got {len(table)}")

    def _table(self, part: str, kind: type[int] | type[float]) -> npt.NDArray[Any]:
        text = self._texts[self._file(part)]
        if not text.strip():
            return np.empty((0, 2), dtype=kind)
        try:
            return np.loadtxt(io.StringIO(text), dtype=kind, delimiter=",", comments=None, ndmin=2)
        except ValueError:
            raise self._find_wrong(part, kind) from None

    def _find_wrong(self, part: str, kind: type[int] | type[float]) -> DataError:
        """Return the error of the first line that is not as many numbers as the first one has."""
        width = 0
        for line, text in enumerate(self.texts(part), 1):
            cells = text.split(",")
            width = width or len(cells)
            try:
                numbers = [kind(cell) for cell in cells]
            except ValueError:
                numbers = []
            if len(numbers) != width:
                what = "whole numbers" if kind is int else "numbers"
                return self.error(part, f"a line must hold {width} {what}, got {text!r}", line)
        return self.error(part, "the file must be a table of numbers")


def _read_texts(path: str) -> dict[str, str]:
    """Return the texts of all files ending in ``.txt``, by their names without folders."""
    place = Path(path)
    if place.is_dir():
        return {found.name: found.read_text("latin-1") for found in sorted(place.rglob("*.txt"))}
    if not place.is_file():
        raise missing_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                PurePosixPath(name).name: archive.read(name).decode("latin-1")
                for name in archive.namelist()
                if name.endswith(".txt")
            }
    except zipfile.BadZipFile as error:
        raise DataError(f"the file must be a zip: {error}", path=path) from None


def _require_order(files: _TuFiles, owners: npt.NDArray[np.int64], count: int) -> None:
    """Check that nodes are in the order of their graphs, and that each graph has a label."""
    wrong = np.flatnonzero((owners < 0) | (owners >= count) | (np.diff(owners, prepend=0) < 0))
    if len(wrong):
        line = int(wrong[0])
        raise files.error(
            "graph_indicator",
            f"graphs must be numbered from 1 to {count}, in order, got {owners[line] + 1}",
            line + 1,
        )


def _owners_of_edges(
    files: _TuFiles, edges: npt.NDArray[np.int64], owners: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the graph of each edge. Shape: edges (E, 2), owners (number of nodes,)."""
    is_inside = (edges >= 0).all(1) & (edges < len(owners)).all(1)
    pairs = np.full(edges.shape, -1)
    pairs[is_inside] = owners[edges[is_inside]]
    wrong = np.flatnonzero(~is_inside | (pairs[:, 0] != pairs[:, 1]))
    if len(wrong):
        line = int(wrong[0])
        ends = (edges[line] + 1).tolist()
        raise files.error("A", f"an edge must join two nodes of one graph, got {ends}", line + 1)
    found: npt.NDArray[np.int64] = pairs[:, 0]
    return found


def _cut(
    tables: Graph, nodes: slice, edges: npt.NDArray[np.int64], edge_index: npt.NDArray[np.int64]
) -> Graph:
    """Return one graph of the tables of all."""
    return Graph(
        nodes.stop - nodes.start,
        edge_index,
        features=_rows(tables.features, nodes),
        categories=_rows(tables.categories, nodes),
        edge_weight=_rows(tables.edge_weight, edges),
        edge_attr=_rows(tables.edge_attr, edges),
        edge_categories=_rows(tables.edge_categories, edges),
    )


def _rows(table: Any, rows: Any) -> Any:
    return None if table is None else table[rows]
