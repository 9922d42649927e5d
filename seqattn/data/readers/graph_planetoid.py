"""Planetoid: the citation graphs Cora, Citeseer and Pubmed with their public split."""

from __future__ import annotations

import codecs
import io
import pickle
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.graph_split import SPLITS, label_only
from seqattn.data.readers.text_file import file_name, missing_file, read_lines
from seqattn.errors import DataError
from seqattn.graph import Graph

_VAL = 500  # the public split: after the training nodes come 500 to validate on
_ARRAYS = ("edge_index", "x_data", "x_indices", "x_indptr", "x_shape", "y")


@dataclass(frozen=True, eq=False)
class _Citations:
    """A graph with its labels, -1 for none, and the nodes of each split."""

    graph: Graph
    labels: npt.NDArray[np.int64]
    splits: dict[str, npt.NDArray[np.int64]]


class PlanetoidFiles(Reader):
    """Gives one citation graph with its bags of words, labelled on a part of the public split.

    Yang et al. 2016, "Revisiting semi-supervised learning with graph embeddings". Nodes that the
    original files leave out (15 of Citeseer) have no words and no label.

    Args:
        path: an ``.npz`` of arrays (`edge_index`, CSR features as `x_data`, `x_indices`,
            `x_indptr` and `x_shape`, `y` with -1 for no label, and `train_idx`, `val_idx`,
            `test_idx`); or the folder of the original ``ind.*`` files.
        split: whose nodes are labelled; ``all`` for every node with a label.
        name: which graph of a folder, such as ``cora``.

    Raises:
        ValueError: if there is no such split, or `name` is not given exactly for a folder.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test", "all"],
        *,
        name: str | None = None,
    ) -> None:
        if split not in (*SPLITS, "all"):
            raise ValueError(f"split must be train, val, test or all, got {split!r}")
        if path.endswith(".npz") != (name is None):
            raise ValueError(f"name is for a folder of ind.* files only, got {name!r} for {path}")
        self.path = path
        self.split = split
        self.name = name

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if a file is missing or is not what it should be.
        """
        found = _read_npz(self.path) if self.name is None else _read_folder(self.path, self.name)
        names = [None if label < 0 else str(label) for label in found.labels.tolist()]
        chosen = np.flatnonzero(found.labels >= 0)
        if self.split != "all":
            chosen = np.intersect1d(chosen, found.splits[self.split])
        key = self.name or file_name(self.path)
        yield label_only(Example(found.graph, names, key), chosen)


def _read_npz(path: str) -> _Citations:
    if not Path(path).is_file():
        raise missing_file(path)
    wanted = (*_ARRAYS, *(f"{split}_idx" for split in SPLITS))
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in wanted}
    except KeyError as error:
        raise DataError(
            f"the file must hold {', '.join(wanted)}: {error.args[0]}", path=path
        ) from None
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"the file must be an .npz of plain arrays: {error}", path=path) from None
    words = _sparse_words(arrays, path)
    graph = Graph(words.shape[0], arrays["edge_index"].astype(np.int64), features=words)
    splits = {str(split): arrays[f"{split}_idx"].astype(np.int64) for split in SPLITS}
    return _Citations(graph, arrays["y"].astype(np.int64), splits)


def _sparse_words(arrays: Mapping[str, npt.NDArray[Any]], path: str) -> Any:
    """Return the features as a sparse matrix. Shape: (n, words)."""
    from scipy.sparse import csr_matrix

    parts = tuple(arrays[f"x_{name}"] for name in ("data", "indices", "indptr"))
    try:
        return csr_matrix(parts, shape=tuple(arrays["x_shape"]), dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"x must be a matrix in CSR form: {error}", path=path) from None


def _read_folder(path: str, name: str) -> _Citations:
    """Read the original files: `x` of training, `allx` of all nodes but the test's, `tx` of these.

    Line i of ``test.index`` says which node row i of `tx` and `ty` is. Numbers that it skips are
    nodes without words and label.
    """
    from scipy.sparse import vstack

    parts = {
        part: _unpickle(str(Path(path, f"ind.{name}.{part}")))
        for part in ("x", "tx", "allx", "ally", "ty", "graph")
    }
    index_path = str(Path(path, f"ind.{name}.test.index"))
    test = _read_numbers(index_path)
    known, num_nodes = parts["allx"].shape[0], int(test.max()) + 1
    if test.min() < known or len(test) != parts["tx"].shape[0]:
        raise DataError(
            f"the file must name a node from {known} for each of {parts['tx'].shape[0]} rows of tx",
            path=index_path,
        )
    rows = np.full(num_nodes, -1)
    rows[:known], rows[test] = np.arange(known), known + np.arange(len(test))
    words = vstack([parts["allx"], parts["tx"]]).tocsr().astype(np.float32)
    words = _pick_rows(words, rows)
    one_hot = np.concatenate([parts["ally"], parts["ty"]])
    labels = np.where((rows >= 0) & (one_hot[rows].sum(1) > 0), one_hot[rows].argmax(1), -1)
    count = parts["x"].shape[0]
    splits = {
        "train": np.arange(count),
        "val": np.arange(count, min(count + _VAL, known)),
        "test": np.sort(test),
    }
    graph = Graph(num_nodes, _both_ways(parts["graph"]), features=words)
    return _Citations(graph, labels.astype(np.int64), splits)


def _pick_rows(matrix: Any, rows: npt.NDArray[np.int64]) -> Any:
    """Return rows of a sparse matrix; -1 stands for an empty one."""
    picked = matrix[rows].tolil()
    picked[np.flatnonzero(rows < 0)] = 0
    return picked.tocsr()


def _both_ways(neighbors: dict[int, list[int]]) -> npt.NDArray[np.int64]:
    """Return each edge of neighbour lists in both directions, once, without self-loops."""
    pairs = {
        pair
        for node, others in neighbors.items()
        for other in others
        if other != node
        for pair in ((node, other), (other, node))
    }
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T


def _read_numbers(path: str) -> npt.NDArray[np.int64]:
    numbers = []
    for line, text in read_lines(path):
        if not text.strip().isdecimal():
            raise DataError(f"a line must be a node's number, got {text!r}", path=path, line=line)
        numbers.append(int(text))
    if not numbers:
        raise DataError("the file must hold at least one node, got none", path=path)
    return np.array(numbers, dtype=np.int64)


def _unpickle(path: str) -> Any:
    """Return what a pickle of Python 2 holds; nothing but arrays and their containers."""
    if not Path(path).is_file():
        raise missing_file(path)
    try:
        return _ArrayUnpickler(io.BytesIO(Path(path).read_bytes()), encoding="latin1").load()
    except DataError as error:
        raise DataError(error.message, path=path) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        raise DataError(
            f"the file must be a pickle of arrays: {type(error).__name__}: {error}", path=path
        ) from None


class _ArrayUnpickler(pickle.Unpickler):
    """Knows arrays, sparse matrices and dictionaries by name, and imports nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        from scipy.sparse import csr_matrix

        known = {
            ("numpy", "dtype"): np.dtype,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("scipy.sparse.csr", "csr_matrix"): csr_matrix,
            ("collections", "defaultdict"): defaultdict,
            ("__builtin__", "list"): list,
            ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes for Python 2
        }
        if (module, name) not in known:
            raise DataError(f"the pickle must hold nothing but arrays, got {module}.{name}")
        return known[module, name]
