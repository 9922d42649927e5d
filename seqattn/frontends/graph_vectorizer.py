"""Raw graphs to rows of numbers: the layout between a graph and :class:`GraphFrontEnd`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqattn.edges import merge_duplicate_edges
from seqattn.frontends.graph_cache import TableCache
from seqattn.frontends.graph_features import (
    connected_components,
    laplacian_eigenvectors,
    log_degrees,
    random_walk_returns,
)
from seqattn.frontends.graph_schema import GraphSchema
from seqattn.frontends.graph_sources import count_nodes, read_graph
from seqattn.graph import Graph
from seqattn.vectorizer import Vectorized, Vectorizer

Normalize = Literal["none", "rows", "columns"]

_CACHED_BYTES = 1 << 28


class GraphVectorizer(Vectorizer):
    """Turns a graph into a row of floats for each node, (L, C), and its edges.

    The columns: features; what the node's place in the graph says (see
    :mod:`~seqattn.frontends.graph_features`); last the ids of its categories. An edge that is
    listed more than once becomes one, with the sum of its values, before anything is computed.

    Args:
        normalize: of the features: ``rows`` divides those of a node by the sum of their absolute
            values, ``columns`` makes mean 0 and deviation 1 over the nodes of training.
        degree: whether degrees are columns; None where nodes have neither features nor categories.
        size: whether the number of nodes is a column.
        laplacian: number of Laplacian eigenvectors.
        random_walk: number of steps of the random walk.
        edge_weight_column: the column of `edge_attr` that is the edge's weight, in place of
            `edge_weight`; None for the latter.
        keep_edge_columns: whether all columns of the edges are handed on, as `edge_attr`.
        positive_edges: whether a negative edge weight is refused.
        weighs_edges: whether edge weights are wanted, so that a warning is due where edges have
            columns and none of them is the weight.
    """

    def __init__(
        self,
        *,
        normalize: Normalize = "none",
        degree: bool | None = None,
        size: bool = False,
        laplacian: int = 0,
        random_walk: int = 0,
        edge_weight_column: int | None = None,
        keep_edge_columns: bool = False,
        positive_edges: bool = False,
        weighs_edges: bool = False,
    ) -> None:
        self.normalize = normalize
        self.degree = degree
        self.size = size
        self.laplacian = laplacian
        self.random_walk = random_walk
        self.edge_weight_column = edge_weight_column
        self.keep_edge_columns = keep_edge_columns
        self.positive_edges = positive_edges
        self.weighs_edges = weighs_edges
        self.schema = GraphSchema(standardize=normalize == "columns")
        self._cache = TableCache(_CACHED_BYTES)

    def fit(self, sources: Iterable[Any]) -> None:
        """Learn columns, vocabularies and means.

        It warns where eigenvectors are fewer than asked, and where no column of edges is read.

        Raises:
            TypeError: if a source is no graph.
            ValueError: if there is none, a graph breaks a rule or differs from the others in its
                columns, or nodes would have no column at all.
        """
        sizes: list[int] = []
        self.schema.fit(self._read(sources, sizes))
        self._require_columns()
        self._warn_about_unread_columns()
        self._warn_about_small_graphs(sizes)

    @property
    def is_fitted(self) -> bool:
        """Whether the columns are known."""
        return self.schema.is_fitted

    @property
    def widths(self) -> tuple[int, int, int]:
        """Number of columns of features, of the place in the graph, of categories."""
        schema = self.schema
        place = 2 * self.has_degree + self.size + self.laplacian + self.random_walk
        return schema.columns["features"], place, len(schema.categories)

    @property
    def has_degree(self) -> bool:
        """Whether degrees are columns."""
        if self.degree is None:
            return not (self.schema.columns["features"] or self.schema.categories)
        return self.degree

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the tensors of one graph.

        Args:
            raw: the source, see :func:`~seqattn.frontends.graph_sources.read_graph`.
            draw: flips the eigenvectors' signs, and draws what is sampled; None for neither.

        Raises:
            TypeError: if it is no graph.
            ValueError: if it breaks a rule, or has other columns than the training graphs.
        """
        if not self.is_fitted:
            raise RuntimeError("the vectorizer must be fitted, or given a state, before it is used")
        graph = read_graph(raw, draw)
        self.schema.check(graph)
        index, weight, attr = self._edges(graph)
        columns = [
            self._normalise(self.schema.features(graph)),
            self._place(index.numpy(), graph.num_nodes, draw),
            self.schema.category_ids(graph),
        ]
        used = [part for part in columns if part.shape[1]]
        return Vectorized(
            _to_tensor(used[0] if len(used) == 1 else np.concatenate(used, axis=1)),
            edge_index=index,
            edge_weight=weight,
            edge_attr=attr,
            labelled=None if graph.labelled is None else _to_tensor(graph.labelled),
        )

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, C)."""
        return torch.empty(0, sum(self.widths))

    def length(self, raw: Any) -> int:
        """Return the number of nodes; of a sampled graph, the most that it may have.

        Raises:
            TypeError: if the source is no graph.
        """
        return count_nodes(raw)

    def state(self) -> dict[str, Any]:
        """Return columns, vocabularies and means."""
        return self.schema.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave.

        Raises:
            ValueError: if nodes would have no column at all, or edges no such weight.
        """
        self.schema.load_state(state)
        self._require_columns()

    def _read(self, sources: Iterable[Any], sizes: list[int]) -> Iterator[Graph]:
        """Yield the graphs one by one; where eigenvectors are asked for, note their sizes."""
        for raw in sources:
            graph = read_graph(raw)
            if self.laplacian:
                sizes.append(_largest_component(graph))
            yield graph

    def _require_columns(self) -> None:
        schema, column = self.schema, self.edge_weight_column
        if not sum(self.widths):
            raise ValueError(
                "degree must not be False where nodes have neither features nor categories, "
                "size, laplacian nor random_walk"
            )
        if column is not None and not 0 <= column < schema.columns["edge_attr"]:
            raise ValueError(
                f"edge_weight_column must be a column of edge_attr, of which the training graphs "
                f"have {schema.columns['edge_attr']}, got {column}"
            )
        if self.keep_edge_columns and not schema.edge_width:
            raise ValueError(
                "edge_heads needs training graphs with edge_weight, edge_attr or edge_categories, "
                "got none"
            )

    def _warn_about_unread_columns(self) -> None:
        """Say that all edges weigh the same although they have columns."""
        columns = self.schema.columns
        unread = [name for name in ("edge_attr", "edge_categories") if columns[name]]
        is_read = self.keep_edge_columns or self.edge_weight_column is not None
        if self.weighs_edges and unread and not is_read and not columns["edge_weight"]:
            warnings.warn(
                f"the training graphs have {' and '.join(unread)} but no edge_weight, so that "
                "every edge weighs 1: name a column as edge_weight_column, or project them all "
                "by edge_heads",
                stacklevel=2,
            )

    def _require_positive(self, graph: Graph) -> None:
        weight = self._weight(graph)
        if self.positive_edges and weight is not None and (weight < 0).any():
            edge = int((weight < 0).argmax())
            raise ValueError(
                "edge_weight must not be negative where layers multiply by it or replace "
                f"attention with it, got {weight[edge]} at edge {edge}"
            )

    def _weight(self, graph: Graph) -> npt.NDArray[Any] | None:
        column = self.edge_weight_column
        if column is None:
            return graph.edge_weight
        return None if graph.edge_attr is None else graph.edge_attr[:, column]

    def _warn_about_small_graphs(self, sizes: list[int]) -> None:
        """Say that some graphs have fewer eigenvectors than asked for."""
        small = [number for number, size in enumerate(sizes) if size - 1 < self.laplacian]
        if small:
            found = max(sizes[small[0]] - 1, 0)
            warnings.warn(
                f"laplacian={self.laplacian} asks for more eigenvectors than {len(small)} of "
                f"{len(sizes)} training graphs have, the first of them graph {small[0]} with "
                f"{found}: the columns that they lack are 0",
                stacklevel=2,
            )

    def _edges(self, graph: Graph) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return every edge once, with its weight and its columns."""
        self._require_positive(graph)
        weight, attr = self._weight(graph), None
        if self.keep_edge_columns:
            weight, attr = None, self.schema.edge_values(graph)
        return merge_duplicate_edges(
            _to_tensor(graph.edge_index),
            None if weight is None else _to_tensor(weight),
            None if attr is None else _to_tensor(attr),
        )

    def _normalise(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.normalize != "rows":
            return features
        sums = np.abs(features).sum(1, keepdims=True)
        return (features / np.where(sums > 0, sums, 1.0)).astype(np.float32, copy=False)

    def _place(
        self, edge_index: npt.NDArray[np.int64], num_nodes: int, draw: int | None
    ) -> npt.NDArray[np.float32]:
        """Return what a node's place in the graph says. Shape: (n, columns)."""
        parts: list[npt.NDArray[Any]] = [np.empty((num_nodes, 0))]
        if self.has_degree:
            parts.append(log_degrees(edge_index, num_nodes))
        if self.size:
            parts.append(np.full((num_nodes, 1), np.log1p(num_nodes)))
        if self.random_walk or self.laplacian:
            found = self._cache.get(
                _digest(edge_index, num_nodes),
                lambda: self._walks_and_vectors(edge_index, num_nodes),
            )
            if draw is not None and self.laplacian:
                signs = np.random.default_rng(draw).choice([-1.0, 1.0], size=self.laplacian)
                found = np.concatenate(
                    [found[:, : self.random_walk], found[:, self.random_walk :] * signs], axis=1
                )
            parts.append(found)
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _walks_and_vectors(
        self, edge_index: npt.NDArray[np.int64], num_nodes: int
    ) -> npt.NDArray[np.float32]:
        walks = random_walk_returns(edge_index, num_nodes, self.random_walk)
        vectors = laplacian_eigenvectors(edge_index, num_nodes, self.laplacian)
        return np.concatenate([walks, vectors], axis=1).astype(np.float32)


def _to_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Return an array as a tensor, without a copy where it can be written to."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _digest(edge_index: npt.NDArray[np.int64], num_nodes: int) -> bytes:
    digest = hashlib.blake2b(edge_index.tobytes(), digest_size=16)
    digest.update(str(num_nodes).encode())
    return digest.digest()


def _largest_component(graph: Graph) -> int:
    components = connected_components(graph.edge_index, graph.num_nodes)
    return int(np.bincount(components, minlength=1).max())
