"""Layers of :class:`GraphFrontEnd`: categories, edges, and a node that is joined to all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.packing import Packing


class CategoryEmbedding(nn.Module):
    """The sum of a learned vector for each column's category; an unknown one adds nothing.

    Args:
        sizes: number of categories of each column.
        dim: D.
    """

    starts: Tensor

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        counts = torch.tensor([size + 1 for size in sizes])
        self.register_buffer("starts", counts.cumsum(0) - counts, persistent=False)
        self.table = nn.Embedding(int(counts.sum()), dim)
        nn.init.normal_(self.table.weight, std=dim**-0.5)
        with torch.no_grad():
            self.table.weight[self.starts] = 0

    def forward(self, ids: Tensor) -> Tensor:
        """Return a vector for each row of ids, 0 for unknown.

        Shape:
            ids: (T, C), of any type. returns: (T, D).
        """
        found: Tensor = self.table(ids.long() + self.starts).sum(1)
        return found


class EdgeScores(nn.Module):
    """One score per head of an edge with several columns.

    Args:
        columns: number of columns.
        heads: H.
        positive: whether scores are positive, by softplus.
    """

    def __init__(self, columns: int, heads: int, *, positive: bool) -> None:
        super().__init__()
        self.project = nn.Linear(columns, heads)
        self.positive = positive

    def forward(self, columns: Tensor) -> Tensor:
        """Return the scores.

        Shape:
            columns: (E, columns). returns: (E, H).
        """
        scores: Tensor = self.project(columns.to(self.project.weight.dtype))
        return F.softplus(scores) if self.positive else scores


def add_virtual_nodes(batch: SequenceBatch, vector: Tensor) -> SequenceBatch:
    """Return the batch with one more position at the end of each sequence.

    It has an edge from and to each of the others, of weight 1, and carries no label. An empty
    sequence gets it too.

    Args:
        batch: values (T, D) and edges.
        vector: what the new positions hold.

    Shape:
        vector: (D,). returns: values (T + B, D), edges (2, E + 2 T).

    Raises:
        ValueError: if there is a target for each position: the new ones would have none.
    """
    total, count = batch.packing.total, len(batch)
    if isinstance(batch.targets, Tensor) and len(batch.targets) != count:
        raise ValueError(
            "virtual_node=True needs a head with one output per sequence, got a target per node: "
            "the virtual node has none"
        )
    lengths = [length + 1 for length in batch.packing.lengths]
    packing = Packing.from_lengths(lengths).to(batch.values.device)
    owners = batch.sequence_ids  # (T,)
    moved = torch.arange(total, device=owners.device) + owners  # (T,)
    virtual = (packing.offsets[1:] - 1)[owners]  # (T,), each position's own
    values = vector.to(batch.values.dtype).repeat(packing.total, 1)  # (T + B, D)
    labelled = batch.labelled
    if labelled is not None:
        labelled = labelled.new_zeros(packing.total).index_copy(0, moved, labelled)
    return batch.replace(
        values=values.index_copy(0, moved, batch.values),
        offsets=packing.offsets,
        packing=packing,
        labelled=labelled,
        **_join_edges(batch, moved, virtual),
    )


def _join_edges(batch: SequenceBatch, moved: Tensor, virtual: Tensor) -> dict[str, Tensor | None]:
    """Return the moved edges, those to the virtual nodes and those from them."""
    index, weight = batch.edge_index, batch.edge_weight
    if index is None:
        return {"edge_index": None, "edge_weight": None}
    added = torch.stack([torch.cat([moved, virtual]), torch.cat([virtual, moved])])
    if weight is not None:
        ones = weight.new_ones(added.shape[1], *weight.shape[1:])
        weight = torch.cat([weight, ones])
    return {"edge_index": torch.cat([moved[index], added], dim=1), "edge_weight": weight}
