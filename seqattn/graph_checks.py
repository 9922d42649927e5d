"""The rules of a graph: its arrays fit each other, and every number is finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.graph import Graph


def check_graph(graph: Graph) -> Graph:
    """Return a graph whose arrays have the types that a vectorizer reads.

    Raises:
        ValueError: if a shape does not fit, an edge leaves the graph, or a number is not finite
            in 32 bits; names node or edge, counted from 0.
    """
    nodes = graph.num_nodes
    if nodes < 0:
        raise ValueError(f"num_nodes must be at least 0, got {nodes}")
    index = _check_edge_index(graph.edge_index, nodes)
    edges = index.shape[1]
    names = graph.names
    if names is not None and len(names) != nodes:
        raise ValueError(f"names must have one entry per node ({nodes}), got {len(names)}")
    return replace(
        graph,
        edge_index=index,
        features=_check_features(graph.features, nodes),
        categories=_check_objects("categories", graph.categories, nodes),
        edge_weight=_check_edge_values("edge_weight", graph.edge_weight, edges, 1),
        edge_attr=_check_edge_values("edge_attr", graph.edge_attr, edges, 2),
        edge_categories=_check_objects("edge_categories", graph.edge_categories, edges),
        labelled=_check_labelled(graph.labelled, nodes),
    )


def is_sparse(values: Any) -> bool:
    """Tell whether values are a scipy sparse matrix, and no array."""
    return hasattr(values, "tocsr")


def _check_edge_index(given: Any, nodes: int) -> npt.NDArray[np.int64]:
    index = np.asarray(given)
    if index.ndim != 2 or len(index) != 2 or not (index.dtype.kind in "iu" or index.size == 0):
        raise ValueError(
            f"edge_index must be whole numbers of shape (2, E), got {index.dtype} {index.shape}"
        )
    outside = ((index < 0) | (index >= nodes)).any(0)  # (E,)
    if outside.any():
        edge = int(outside.argmax())
        raise ValueError(
            f"edge_index must name nodes in 0 … num_nodes - 1, with num_nodes = {nodes}, "
            f"got {index[:, edge].tolist()} at edge {edge}"
        )
    return index.astype(np.int64, copy=False)


def _check_features(given: Any, nodes: int) -> Any:
    """Return features as float32 (n, F), dense or sparse as they were; None without."""
    if given is None:
        return None
    numbers = _check_rows("features", _to_numbers("features", given), nodes, 2)
    if not is_sparse(numbers):
        return _check_finite("features", numbers, "node")
    rows = numbers.tocsr().astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(rows.data))
    if len(wrong):
        node = int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"features must be finite in 32 bits, got {rows.data[wrong[0]]} at node {node}"
        )
    return rows


def _check_objects(name: str, given: Any, rows: int) -> npt.NDArray[Any] | None:
    return None if given is None else _check_rows(name, np.asarray(given), rows, 2)


def _check_labelled(given: Any, nodes: int) -> npt.NDArray[np.bool_] | None:
    if given is None:
        return None
    labelled = np.asarray(given)
    if labelled.shape != (nodes,) or labelled.dtype != np.bool_:
        raise ValueError(
            f"labelled must be bool of shape ({nodes},), got {labelled.dtype} {labelled.shape}"
        )
    return labelled


def _check_rows(name: str, values: Any, rows: int, rank: int) -> Any:
    if len(values.shape) != rank or values.shape[0] != rows:
        shape = f"({rows},)" if rank == 1 else f"({rows}, columns)"
        raise ValueError(f"{name} must have shape {shape}, got {tuple(values.shape)}")
    return values


def _check_finite(name: str, values: Any, row_name: str) -> npt.NDArray[np.float32]:
    """Return numbers in 32 bits, all finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: npt.NDArray[np.float32] = values.astype(np.float32, copy=False)
        if np.isfinite(found.sum()):  # one NaN or infinity makes the sum so
            return found
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        place = tuple(wrong[0])
        where = f"{row_name} {place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")
        raise ValueError(f"{name} must be finite in 32 bits, got {values[place]} at {where}")
    return found


def _check_edge_values(
    name: str, given: Any, edges: int, rank: int
) -> npt.NDArray[np.float32] | None:
    if given is None:
        return None
    numbers = _check_rows(name, _to_numbers(name, given), edges, rank)
    return _check_finite(name, numbers, "edge")


def _to_numbers(name: str, given: Any) -> Any:
    """Return an array of numbers; a sparse matrix as it is.

    Raises:
        ValueError: if there is something else than numbers.
    """
    found = given if is_sparse(given) else np.asarray(given)
    if found.dtype.kind in "biuf":
        return found
    if found.dtype.kind == "c":
        raise ValueError(f"{name} must be real numbers, got {found.dtype}")
    try:
        return found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, got {found.dtype}: {error}") from error
