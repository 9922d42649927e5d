"""The front-end for graphs: nodes with features, categories and a place among the others."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.frontends.graph_layers import CategoryEmbedding, EdgeScores, add_virtual_nodes
from seqattn.frontends.graph_sources import read_graph
from seqattn.frontends.graph_vectorizer import GraphVectorizer, Normalize
from seqattn.layers.dropout import Dropout

VIRTUAL = "(all)"
"""What pictures call the virtual node."""


class GraphFrontEnd(FrontEnd):
    """Gives a vector to each node of a graph, and the edges to the encoder.

    A raw source is a :class:`seqattn.Graph`, a PyG ``Data``, a networkx graph, or what has
    ``sample(draw)`` (see :class:`seqattn.graph.Sampled`). A node's vector is the sum of its
    features and its place in the graph, projected, and its categories, embedded.

    Nodes have no order: every position is 0, so that rotary and ALiBi vanish. Numbering the nodes
    otherwise permutes the results and changes nothing else, but for the freedom of eigenvectors
    of one eigenvalue.

    Args:
        normalize: of the features: ``rows`` divides those of a node by the sum of their absolute
            values, ``columns`` makes mean 0 and deviation 1 over the nodes of training.
        degree: whether degrees are inputs; None where nodes have neither features nor categories.
        size: whether each node is told how many there are: a mean over the nodes forgets it.
        laplacian: number of Laplacian eigenvectors that are inputs, their signs flipped by draw.
            Over 2,000 nodes they need scipy.
        random_walk: number of steps after which the probability of being back is an input.
        edge_weight_column: the column of the edges' `edge_attr` that is their weight; None for
            `edge_weight`.
        edge_heads: the encoder's heads, to give each its own score of an edge, projected from
            its weight, all its columns and its categories; 0 to read the weight alone.
        positive_edges: for the encoder's `multiply` and `replace`: projected scores are positive,
            by softplus, and a negative weight of a source is refused, naming its graph.
        virtual_node: whether one more node, last, is joined to all nodes both ways by edges of
            weight 1. For heads with one output per sequence.
        feature_dropout: probability of dropout on the features.
        dropout: probability of dropout on the vectors.
        embedding_norm: whether the vectors are layer-normalised before dropout.

    Raises:
        ValueError: if an argument breaks a rule above.
    """

    vectorizer: GraphVectorizer
    keeps_positions = False

    def __init__(
        self,
        *,
        normalize: Normalize = "none",
        degree: bool | None = None,
        size: bool = False,
        laplacian: int = 0,
        random_walk: int = 0,
        edge_weight_column: int | None = None,
        edge_heads: int = 0,
        positive_edges: bool = False,
        virtual_node: bool = False,
        feature_dropout: float = 0.0,
        dropout: float = 0.1,
        embedding_norm: bool = False,
    ) -> None:
        super().__init__()
        if normalize not in get_args(Normalize):
            kinds = ", ".join(get_args(Normalize))
            raise ValueError(f"normalize must be one of {kinds}, got {normalize!r}")
        counts = {"laplacian": laplacian, "random_walk": random_walk, "edge_heads": edge_heads}
        for name, count in counts.items():
            if count < 0:
                raise ValueError(f"{name} must be at least 0, got {count}")
        if edge_heads and edge_weight_column is not None:
            raise ValueError(
                "edge_weight_column names the one column that is read, edge_heads reads all: "
                f"give one of them, got {edge_weight_column} and {edge_heads}"
            )
        for name, p in (("feature_dropout", feature_dropout), ("dropout", dropout)):
            if not 0 <= p < 1:
                raise ValueError(f"{name} must lie in 0 … 1, without 1, got {p}")
        self.vectorizer = GraphVectorizer(
            normalize=normalize,
            degree=degree,
            size=size,
            laplacian=laplacian,
            random_walk=random_walk,
            edge_weight_column=edge_weight_column,
            keep_edge_columns=edge_heads > 0,
            positive_edges=positive_edges,
        )
        self.edge_heads = edge_heads
        self.positive_edges = positive_edges
        self.virtual_node = virtual_node
        self.embedding_norm = embedding_norm
        self.feature_dropout = Dropout(feature_dropout)
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the layers of the fitted columns; see :meth:`FrontEnd.build`."""
        schema = self.vectorizer.schema
        features, place, _ = self.vectorizer.widths
        self.features = _projection(features, dim)
        self.place = _projection(place, dim)
        sizes = [len(names) for names in schema.categories]
        self.categories = CategoryEmbedding(sizes, dim) if sizes else None
        self.edges = None
        if self.edge_heads:
            self.edges = EdgeScores(
                schema.edge_width, self.edge_heads, positive=self.positive_edges
            )
        self.virtual = nn.Parameter(torch.randn(dim) * dim**-0.5) if self.virtual_node else None
        self.norm = nn.LayerNorm(dim) if self.embedding_norm else nn.Identity()

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T, D), every position 0, and the edges' scores.

        With a virtual node there are B positions more.

        Shape:
            batch.values: (T, C), as :class:`GraphVectorizer` makes them.

        Raises:
            ValueError: if there is a virtual node and a target for each node.
        """
        x = self.norm(self._embed(batch.values))  # (T, D)
        weight = batch.edge_weight
        if self.edges is not None:
            x, weight = self._score_edges(x, batch.edge_attr)
        batch = batch.replace(values=self.dropout(x), edge_weight=weight, edge_attr=None)
        if self.virtual is not None:
            batch = add_virtual_nodes(batch, self.virtual)
        positions = torch.zeros_like(batch.packing.positions)
        return batch.replace(packing=batch.packing.with_positions(positions))

    def position_labels(self, raw: Any) -> list[str]:
        """Return the names of a graph's nodes, for pictures."""
        graph = read_graph(raw)
        names = map(str, range(graph.num_nodes)) if graph.names is None else graph.names
        return [*names, *([VIRTUAL] * self.virtual_node)]

    def _embed(self, values: Tensor) -> Tensor:
        """Return the vectors of rows of columns (T, C). Shape: (T, D)."""
        features, place, ids = torch.split(values, list(self.vectorizer.widths), dim=1)
        parts: list[Tensor] = []
        if self.features is not None:
            weights = self.features.weight
            parts.append(self.features(self.feature_dropout(features.to(weights.dtype))))
        if self.place is not None:
            parts.append(self.place(place.to(self.place.weight.dtype)))
        if self.categories is not None:
            parts.append(self.categories(ids))
        return sum(parts[1:], parts[0])

    def _score_edges(self, x: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return x and the scores (E, H). An empty batch, which has no edges, reaches them too."""
        assert self.edges is not None
        if columns is not None:
            return x, self.edges(columns)
        nothing = x.new_empty(0, self.vectorizer.schema.edge_width)
        return x + 0.0 * self.edges(nothing).sum(), None


def _projection(columns: int, dim: int) -> nn.Linear | None:
    """Return the layer from columns to vectors, None without columns."""
    if not columns:
        return None
    layer = nn.Linear(columns, dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
