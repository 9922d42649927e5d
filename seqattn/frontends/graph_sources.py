"""Raw graphs of any library to :class:`seqattn.Graph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.frontends.graph_checks import check_graph
from seqattn.graph import Graph, Sampled, add_reverse


def read_graph(raw: Any, draw: int | None = None) -> Graph:
    """Return the checked graph of a raw source.

    Args:
        raw: a :class:`seqattn.Graph`; a PyG ``Data``; a networkx graph; or what has
            ``sample(draw)``, see :class:`seqattn.graph.Sampled`.
        draw: for what is sampled.

    Raises:
        TypeError: if it is none of these.
        ValueError: if the graph breaks a rule of :func:`check_graph`.
    """
    if isinstance(raw, Graph):
        return check_graph(raw)
    if _is_of(raw, "torch_geometric.data", "Data"):
        return check_graph(from_pyg(raw))
    if _is_of(raw, "networkx", "Graph"):
        return check_graph(from_networkx(raw))
    if isinstance(raw, Sampled):
        return read_graph(raw.sample(draw))
    raise TypeError(
        "a graph must be a seqattn.Graph, a PyG Data, a networkx graph or have sample(draw), "
        f"got {type(raw).__name__}"
    )


def count_nodes(raw: Any) -> int:
    """Return the nodes of a raw source; at most so many of a sampled one.

    Raises:
        TypeError: if it is no graph.
    """
    if _is_of(raw, "networkx", "Graph"):
        return int(raw.number_of_nodes())
    if isinstance(raw, Graph | Sampled) or _is_of(raw, "torch_geometric.data", "Data"):
        return int(raw.num_nodes or 0)
    return read_graph(raw).num_nodes


def from_pyg(data: Any) -> Graph:
    """Return the graph of a PyG ``Data``: its `x`, `edge_index`, `edge_weight` and `edge_attr`.

    Whole numbers in `x` and `edge_attr` are categories, floats features; one dimension is one
    column.

    Raises:
        ValueError: if there is no `edge_index`.
    """
    if data.edge_index is None:
        raise ValueError("edge_index of a PyG Data must be given, got None")
    x, attr = _columns_of(data.x), _columns_of(data.edge_attr)
    weight = getattr(data, "edge_weight", None)
    weight = weight if weight is not None else getattr(data, "weight", None)
    return Graph(
        num_nodes=int(data.num_nodes or 0),
        edge_index=_to_array(data.edge_index),
        features=None if _is_whole(x) else x,
        categories=x if _is_whole(x) else None,
        edge_weight=None if weight is None else _to_array(weight),
        edge_attr=None if _is_whole(attr) else attr,
        edge_categories=attr if _is_whole(attr) else None,
    )


def from_networkx(graph: Any) -> Graph:
    """Return the graph of a networkx graph, its nodes in their order there.

    Read are of nodes `x` (a number or a vector) and `category` (a name, or several), of edges
    `weight`. An edge of an undirected graph goes both ways; parallel edges sum.

    Raises:
        ValueError: if only some nodes or edges have one of them, or vectors differ in length.
    """
    names = list(graph.nodes)
    numbers = {name: number for number, name in enumerate(names)}
    edges = list(graph.edges(data=True))
    ends = [(numbers[source], numbers[target]) for source, target, _ in edges]
    index = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    order = np.arange(len(edges))
    if not graph.is_directed():
        index, order = add_reverse(index)
    places = [f"edge {source!r}, {target!r}" for source, target, _ in edges]
    weights = _attributes("weight", places, [values for _, _, values in edges])
    attributes = [graph.nodes[name] for name in names]
    places = [f"node {name!r}" for name in names]
    features = _attributes("x", places, attributes)
    categories = _attributes("category", places, attributes)
    return Graph(
        num_nodes=len(names),
        edge_index=index,
        features=features,
        categories=categories,
        edge_weight=None if weights is None else weights[order, 0],
        names=tuple(map(str, names)),
    )


def _is_of(raw: Any, package: str, name: str) -> bool:
    """Tell whether a class or a base of it has that name in a package, which is not imported."""
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.")
        for base in type(raw).__mro__
    )


def _to_array(tensor: Any) -> npt.NDArray[Any]:
    dense = tensor.to_dense() if getattr(tensor, "is_sparse", False) else tensor
    found: npt.NDArray[Any] = dense.detach().cpu().numpy()
    return found


def _columns_of(tensor: Any) -> npt.NDArray[Any] | None:
    """Return a tensor as an array with columns, or None without."""
    if tensor is None:
        return None
    values = _to_array(tensor)
    return values[:, None] if values.ndim == 1 else values


def _is_whole(values: npt.NDArray[Any] | None) -> bool:
    return values is not None and values.dtype.kind in "iu"


def _attributes(
    name: str, places: list[str], attributes: list[Mapping[str, Any]]
) -> npt.NDArray[Any] | None:
    """Return an attribute of each place as a row, or None where no place has it."""
    having = [name in values for values in attributes]
    if not any(having):
        return None
    if not all(having):
        missing = places[having.index(False)]
        raise ValueError(f"{name!r} must be given everywhere or nowhere, got none at {missing}")
    rows = [_as_row(values[name]) for values in attributes]
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{name!r} must have {len(rows[0])} columns, got {len(row)} at {place}"
            )
    found = np.empty((len(rows), len(rows[0])), dtype=object)
    found[:] = rows
    return found


def _as_row(value: Any) -> list[Any]:
    """Return a vector as a list, and a name or number as a list of one."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return [value]
    return list(value)
