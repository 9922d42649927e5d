"""Graphs as lists of edges: edge lists with a file of labels, and lists of contacts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import Line, file_name, is_blank, read_lines, split_blanks
from seqattn.errors import DataError
from seqattn.graph import LARGEST, Graph, add_reverse


class EdgeList(Reader):
    """Reads one graph from a file with an edge per line: source, target and perhaps a weight.

    Words are separated by blanks; lines that begin with ``#`` are left out. Node names are any
    words. The nodes of the file of labels come first, in its order, then those that only edges
    name: they have no label, and neither has any node without such a file.

    Args:
        path: the file of edges, plain or ``.gz``.
        labels: a file with a node and its label per line, after a line of headings.
        undirected: every line means both directions; a node's edge to itself is one all the same.
    """

    def __init__(self, path: str, labels: str | None = None, *, undirected: bool = True) -> None:
        self.path = path
        self.labels = labels
        self.undirected = undirected

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if a line has not two or three words, or as many as the others, a weight is
                not a finite number in 32 bits, a node has two labels, or there is no node at all;
                names the file and the line.
        """
        labels = {} if self.labels is None else _read_labels(self.labels)
        numbers = {node: number for number, node in enumerate(labels)}
        edges: list[tuple[int, int]] = []
        weights: list[float] = []
        width = 0
        for line, words in _word_lines(self.path):
            width = width or len(words)
            if len(words) not in (2, 3) or len(words) != width:
                raise DataError(
                    f"a line must hold two nodes, and a weight in all lines or none, got {words}",
                    path=self.path,
                    line=line,
                )
            edges.append(_number_pair(numbers, words))
            weights += [_finite(word, self.path, line) for word in words[2:]]
        if not numbers:
            raise DataError("the file must hold at least one edge, got none", path=self.path)
        given = [labels.get(node) for node in numbers]
        graph = _make_graph(
            numbers, edges, weights or None, undirected=self.undirected, known=given
        )
        yield Example(graph, None if self.labels is None else given, file_name(self.path))


class ContactList(Reader):
    """Reads one graph of contacts between persons: time, person, person, class, class.

    Cells are separated by tabs, with a line of headings above or without, as the SocioPatterns
    files are: headings are a first line that does not begin with a number. An edge goes in both
    directions between two persons who meet; its weight is the number of their contacts. The label
    of a person is the class.

    Args:
        path: the file, plain or ``.gz``.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Iterator[Example]:
        """Yield the graph, its nodes in order of their first contact.

        Raises:
            DataError: if a line has not five cells, a person has two classes or meets itself;
                names the file and the line.
        """
        numbers: dict[str, int] = {}
        classes: dict[str, str] = {}
        counts: dict[tuple[int, int], int] = {}
        for line, cells in _contact_lines(self.path):
            if len(cells) != 5:
                raise DataError(
                    f"a line must hold 5 cells between tabs, got {cells}", path=self.path, line=line
                )
            _, *persons, first, second = cells
            for person, name in zip(persons, (first, second), strict=True):
                if classes.setdefault(person, name) != name:
                    raise DataError(
                        f"person {person} must be of one class, got {classes[person]!r} "
                        f"and {name!r}",
                        path=self.path,
                        line=line,
                    )
            low, high = sorted(_number_pair(numbers, persons))
            if low == high:
                raise DataError(
                    f"a contact must be between two persons, got {persons}",
                    path=self.path,
                    line=line,
                )
            counts[low, high] = counts.get((low, high), 0) + 1
        if not counts:
            raise DataError("the file must hold at least one contact, got none", path=self.path)
        labels = [classes[person] for person in numbers]
        weights = [float(count) for count in counts.values()]
        graph = _make_graph(numbers, list(counts), weights, undirected=True, known=labels)
        yield Example(graph, labels, file_name(self.path))


def _make_graph(
    names: Sequence[str] | dict[str, int],
    edges: Sequence[tuple[int, int]],
    weights: Sequence[float] | None,
    *,
    undirected: bool,
    known: Sequence[Any],
) -> Graph:
    """Return the graph of named nodes, edges between their numbers, and the nodes' labels."""
    index = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    order = np.arange(index.shape[1])
    if undirected:
        index, order = add_reverse(index)
    labelled = np.array([label is not None for label in known], dtype=np.bool_)
    return Graph(
        len(names),
        index,
        edge_weight=None if weights is None else np.array(weights, dtype=np.float32)[order],
        labelled=None if labelled.all() else labelled,
        names=tuple(names),
    )


def _word_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    for line, text in read_lines(path):
        if not is_blank(text) and not text.startswith("#"):
            yield line, split_blanks(text)


def _contact_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line, but of a first one whose time is a heading."""
    is_first = True
    for line, text in read_lines(path):
        if is_blank(text):
            continue
        cells = text.split("\t")
        if not is_first or _is_number(cells[0]):
            yield line, cells
        is_first = False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _after_headings(path: str) -> Iterator[Line]:
    lines = (pair for pair in read_lines(path) if not is_blank(pair[1]))
    next(lines, None)
    return lines


def _read_labels(path: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for line, text in _after_headings(path):
        words = split_blanks(text)
        if len(words) != 2:
            raise DataError(
                f"a line must hold a node and its label, got {words}", path=path, line=line
            )
        node, label = words
        if node in labels:
            raise DataError(f"a node must have one label, got {node} again", path=path, line=line)
        labels[node] = label
    if not labels:
        raise DataError("the file must hold at least one label, got none", path=path)
    return labels


def _number_pair(numbers: dict[str, int], words: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of the first two words, new ones where they are new."""
    first, second = (numbers.setdefault(word, len(numbers)) for word in words[:2])
    return first, second


def _finite(word: str, path: str, line: int) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not abs(number) <= LARGEST:
        raise DataError(
            f"a weight must be a finite number in 32 bits, got {word!r}", path=path, line=line
        )
    return number
