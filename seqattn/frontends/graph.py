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
from seqattn.layers.encoder import Encoder

_POSITIVE = ("multiply", "replace")

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
            its weight, all its columns and its categories; 0 to read the weight alone. A layer of
            the encoder must read edge weights then.
        positive_edges: for the encoder's `multiply` and `replace`: projected scores are positive,
            by softplus, and a negative weight of a source is refused, naming its graph. A head
            sees to the latter by itself, and refuses `edge_heads` without the former.
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

    def suit(self, encoder: Encoder) -> None:
        """Take note of how the layers of a head's encoder read edge weights.

        Raises:
            ValueError: if edges are to be scored and no layer reads the scores, or one reads
                positive scores only.
        """
        kinds = {slots.edge_weight for slots in encoder.slots if slots.attends} - {"ignore"}
        needs_positive = not kinds.isdisjoint(_POSITIVE)
        if self.edge_heads and not kinds:
            raise ValueError(
                "edge_heads must be 0 where no layer of the encoder reads edge weights, got "
                f"{self.edge_heads}: give the encoder edge_weight='bias', 'multiply' or 'replace'"
            )
        if self.edge_heads and needs_positive and not self.positive_edges:
            raise ValueError(
                "positive_edges must be True with edge_heads where a layer of the encoder has "
                "edge_weight='multiply' or 'replace', got False"
            )
        self.vectorizer.weighs_edges = bool(kinds)
        self.vectorizer.positive_edges = self.positive_edges or needs_positive

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

    @property
    def spellings(self) -> list[str]:
        """The values of the nodes' last category; none without, or with a virtual node."""
        columns = self.vectorizer.schema.categories
        return columns[-1] if columns and not self.virtual_node else []

    def spell(self, batch: SequenceBatch) -> Tensor:
        """Return the last category of each node, -1 for an unknown one; see the base."""
        return batch.values[:, -1].long() - 1  # 0 is unknown

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T, D), every position 0, and the edges' scores.

        With a virtual node there are B positions more.

        Shape:
            batch.values: (T, C), as :class:`GraphVectorizer` makes them.

        Raises:
            ValueError: if there is a virtual node and a target for each node.
        """
        x = self.norm(self._embed(batch.values))  # (T, D)
        index, weight = batch.edge_index, batch.edge_weight
        if index is None:  # a batch without graphs has no edges, as opposed to no edge slot
            index = torch.empty(2, 0, dtype=torch.int64, device=x.device)
        if self.edges is not None:
            x, weight = self._score_edges(x, batch.edge_attr)
        x = self.dropout(x)
        batch = batch.replace(values=x, edge_index=index, edge_weight=weight, edge_attr=None)
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

    def _score_edges(self, x: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return x and the scores (E, H).

        DDP wants a gradient for every parameter, and where there are no nodes the encoder, which
        reads no edge then, gives the scores none: there x hands it on.
        """
        assert self.edges is not None
        if columns is None:
            columns = x.new_empty(0, self.vectorizer.schema.edge_width)
        scores: Tensor = self.edges(columns)
        return x if len(x) else x + 0.0 * scores.sum(), scores


def _projection(columns: int, dim: int) -> nn.Linear | None:
    """Return the layer from columns to vectors, None without columns."""
    if not columns:
        return None
    layer = nn.Linear(columns, dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
