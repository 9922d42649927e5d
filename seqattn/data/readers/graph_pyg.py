"""Data sets of PyTorch Geometric, by class path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.graph_split import SPLITS, label_only
from seqattn.errors import DataError
from seqattn.graph import from_pyg

_PACKAGE = "torch_geometric"
_NOT_EDGES = "edge and link prediction is not supported: targets must be of nodes or of graphs"


class PygDataset(Reader):
    """Gives the graphs of any PyG data set, with its transforms and masks.

    Floating `x` and `edge_attr` become features, whole numbers categories; `edge_weight`, or
    `weight`, is the edges' weight. Targets of nodes are whole numbers in `y`. Targets of graphs
    are a whole number (a label), a float (a number), or several zeros and ones (labels that hold).

    A class is only imported from ``torch_geometric``; one of a module that the program has
    imported already may be named as well.

    Args:
        class_path: the data set's class, such as ``torch_geometric.datasets.Planetoid``.
        arguments: its constructor's, such as ``{root: data, name: Cora}``.
        target: whether `y` belongs to each ``node`` or to each ``graph``.
        split: ``all``; or, for targets of nodes, the mask that says which nodes are labelled.
        transforms: class paths of PyG transforms with their arguments, applied in order.
        column: which column of `y`, and of masks that have several.

    Raises:
        ValueError: if an argument is out of its range, or targets are asked for on edges.
    """

    def __init__(
        self,
        class_path: str,
        arguments: dict[str, Any] | None = None,
        *,
        target: Literal["node", "graph", "edge"] = "node",
        split: Literal["all", "train", "val", "test"] = "all",
        transforms: dict[str, dict[str, Any]] | None = None,
        column: int | None = None,
    ) -> None:
        if target not in ("node", "graph"):
            raise ValueError(f"{_NOT_EDGES}, got target={target!r}")
        if split not in ("all", *SPLITS):
            raise ValueError(f"split must be all, train, val or test, got {split!r}")
        if split != "all" and target == "graph":
            raise ValueError(
                f"split must be all for targets of graphs, which have no masks, got {split!r}: "
                "wrap the reader in Split or Fold"
            )
        self.class_path = class_path
        self.arguments = dict(arguments or {})
        self.target = target
        self.split = split
        self.transforms = dict(transforms or {})
        self.column = column

    def read(self) -> Iterator[Example]:
        """Yield the graphs; their keys are the data set's name and a number.

        Raises:
            ValueError: if a class is refused, or does not take its arguments.
            DataError: if a graph has no such targets or mask, or has targets on edges only; names
                the graph's key.
        """
        dataset = _make(self.class_path, self.arguments, "torch_geometric.data.Dataset")
        transforms = [
            _make(path, given, "torch_geometric.transforms.BaseTransform")
            for path, given in self.transforms.items()
        ]
        name = self.class_path.rpartition(".")[2]
        for number in range(len(dataset)):
            data = dataset[number]
            for transform in transforms:
                data = transform(data)
            yield self._example(data, f"{name}:{number}")

    def _example(self, data: Any, key: str) -> Example:
        if not hasattr(data, "edge_index") or data.edge_index is None:
            raise DataError("a graph must have an edge_index, got none", key=key)
        if "edge_label" in data or "edge_label_index" in data:
            raise DataError(f"{_NOT_EDGES}, got edge_label", key=key)
        graph = from_pyg(data)
        target = self._target(data, key)
        if self.target == "graph":
            return Example(graph, target, key)
        if self.split == "all":
            known = np.array([label is not None for label in target])
            return label_only(Example(graph, target, key), np.flatnonzero(known))
        return label_only(Example(graph, target, key), np.flatnonzero(self._mask(data, key)))

    def _target(self, data: Any, key: str) -> Any:
        if data.y is None:
            raise DataError("a graph must have targets y, got none", key=key)
        values = data.y.numpy()
        if self.column is not None:
            values = values.reshape(-1, values.shape[-1])[:, self.column]
        if self.target == "graph":
            return _graph_target(values.reshape(-1), key)
        if values.shape not in ((data.num_nodes,), (data.num_nodes, 1)) or values.dtype.kind == "f":
            raise DataError(
                f"y must be one whole number for each of {data.num_nodes} nodes, "
                f"got {values.dtype} {values.shape}",
                key=key,
            )
        return [None if label < 0 else str(label) for label in values.reshape(-1).tolist()]

    def _mask(self, data: Any, key: str) -> npt.NDArray[np.bool_]:
        name = f"{self.split}_mask"
        if name not in data:
            raise DataError(
                f"a graph must have a {name}, got none: wrap the reader of split=all in NodeSplit",
                key=key,
            )
        mask: npt.NDArray[np.bool_] = data[name].numpy()
        return mask if mask.ndim == 1 else mask[:, self.column or 0]


def _graph_target(values: npt.NDArray[Any], key: str) -> Any:
    if len(values) == 1:
        return float(values[0]) if values.dtype.kind == "f" else str(int(values[0]))
    if not np.isin(values, (0, 1)).all():
        raise DataError(
            f"several targets of a graph must be zeros and ones, got {values.tolist()}: "
            "choose a column",
            key=key,
        )
    return [str(number) for number in np.flatnonzero(values).tolist()]


def _make(path: str, arguments: Mapping[str, Any], base: str) -> Any:
    """Return an object of a class that is named in a configuration."""
    found = _find(path)
    if not (isinstance(found, type) and issubclass(found, _find(base))):
        raise ValueError(f"class_path must name a subclass of {base}, got {path!r}")
    try:
        return found(**arguments)
    except TypeError as error:
        raise ValueError(
            f"arguments must be those of {path}, got {sorted(arguments)}: {error}"
        ) from error


def _find(path: str) -> Any:
    """Return what a path names; import nothing that is not PyG's."""
    module_name, _, name = path.rpartition(".")
    is_pyg = module_name.split(".")[0] == _PACKAGE
    if not is_pyg and module_name not in sys.modules:
        raise ValueError(
            f"class_path must be of {_PACKAGE} or of a module that is imported already, "
            f"got {path!r}"
        )
    try:
        module = importlib.import_module(module_name) if is_pyg else sys.modules[module_name]
    except ModuleNotFoundError as error:
        if error.name == _PACKAGE:
            raise ImportError(
                "PyG data sets need torch_geometric, which is not installed: "
                "pip install 'seqattn[graph]'"
            ) from error
        raise ValueError(f"class_path must name a class of {_PACKAGE}, got {path!r}") from error
    return getattr(module, name, None) if is_pyg else vars(module).get(name)
