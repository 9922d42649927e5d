"""Raw graphs of any library to :class:`seqattn.Graph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.graph import Graph, Sampled, add_reverse, from_pyg, require_list
from seqattn.graph_checks import check_graph


def read_graph(raw: Any, draw: int | None = None) -> Graph:
    """Return the checked graph of a raw source.

    Args:
        raw: a :class:`seqattn.Graph`; a PyG ``Data``; a networkx graph; or what has
            ``sample(draw)``, see :class:`seqattn.graph.Sampled`.
        draw: for what is sampled.

    Raises:
        TypeError: if it is none of these, or a PyG ``Batch`` of several.
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


def from_networkx(
    graph: Any,
    *,
    edge_attr_columns: Sequence[str] = (),
    edge_category_columns: Sequence[str] = (),
) -> Graph:
    """Return the graph of a networkx graph, its nodes in their order there.

    Read are of nodes `x` (a number or a vector) and `category` (a name, or several), of edges
    `weight` and what is named here. An edge of an undirected graph goes both ways; parallel edges
    sum.

    Args:
        graph: directed or not, with parallel edges or without.
        edge_attr_columns: attributes that are numbers of an edge.
        edge_category_columns: attributes that are names or numbers of an edge.

    Raises:
        TypeError: if one string is given where a list of columns is wanted.
        ValueError: if only some nodes or edges have an attribute, none of the edges has one that is
            named, or vectors differ in length.
    """
    require_list("edge_attr_columns", edge_attr_columns)
    require_list("edge_category_columns", edge_category_columns)
    names = list(graph.nodes)
    numbers = {name: number for number, name in enumerate(names)}
    edges = list(graph.edges(data=True))
    ends = [(numbers[source], numbers[target]) for source, target, _ in edges]
    index = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    order = np.arange(len(edges))
    if not graph.is_directed():
        index, order = add_reverse(index)
    of_nodes = _Attributes([f"node {name!r}" for name in names], [graph.nodes[n] for n in names])
    of_edges = _Attributes(
        [f"edge {source!r}, {target!r}" for source, target, _ in edges],
        [values for _, _, values in edges],
    )
    weight = of_edges.read("weight")
    attr = of_edges.join(edge_attr_columns)
    categories = of_edges.join(edge_category_columns)
    return Graph(
        num_nodes=len(names),
        edge_index=index,
        features=of_nodes.read("x"),
        categories=of_nodes.read("category"),
        edge_weight=None if weight is None else weight[order, 0],
        edge_attr=None if attr is None else attr[order],
        edge_categories=None if categories is None else categories[order],
        names=tuple(map(str, names)),
    )


def _is_of(raw: Any, package: str, name: str) -> bool:
    """Tell whether a class or a base of it has that name in a package, which is not imported."""
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.")
        for base in type(raw).__mro__
    )


class _Attributes:
    """Attributes of networkx's nodes, or of its edges.

    Args:
        places: what errors call each.
        values: the attributes of each.
    """

    def __init__(self, places: Sequence[str], values: Sequence[Mapping[str, Any]]) -> None:
        self.places = places
        self.values = values

    def read(self, name: str) -> npt.NDArray[Any] | None:
        """Return an attribute of each place as a row, or None where no place has it."""
        having = [name in values for values in self.values]
        if not any(having):
            return None
        if not all(having):
            missing = self.places[having.index(False)]
            raise ValueError(f"{name!r} must be given everywhere or nowhere, got none at {missing}")
        rows = [_as_row(values[name]) for values in self.values]
        for row, place in zip(rows, self.places, strict=True):
            if len(row) != len(rows[0]):
                raise ValueError(
                    f"{name!r} must have {len(rows[0])} columns, got {len(row)} at {place}"
                )
        found = np.empty((len(rows), len(rows[0])), dtype=object)
        found[:] = rows
        return found

    def join(self, names: Sequence[str]) -> npt.NDArray[Any] | None:
        """Return the columns of attributes that every place has, or None for no attribute."""
        if not names or not self.places:
            return None
        tables = []
        for name in names:
            table = self.read(name)
            if table is None:
                raise ValueError(f"{name!r} must be given everywhere, got none at {self.places[0]}")
            tables.append(table)
        return np.concatenate(tables, axis=1)


def _as_row(value: Any) -> list[Any]:
    """Return a vector as a list, and a name or number as a list of one."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return [value]
    return list(value)
