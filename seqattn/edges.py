"""Edges: those of each sequence become one list over all positions of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqattn.errors import DataError

Edge = tuple[Tensor, Tensor | None]
"""``(edge_index (2, E), edge_weight (E,) or None)`` of one sequence, indices local to it."""


def join_edges(
    edges: Sequence[Edge], lengths: Sequence[int], keys: Sequence[str]
) -> tuple[Tensor, Tensor | None]:
    """Join edges local to each sequence into one list over all positions.

    Raises:
        ValueError: if there is not one entry per sequence.
        DataError: if an edge leaves its sequence, edges and weights do not fit each other, or
            only some sequences are weighted.

    Shape:
        returns: edge_index (2, E), edge_weight (E,) or None.
    """
    if len(edges) != len(lengths):
        raise ValueError(
            f"edges must have one entry per sequence ({len(lengths)}), got {len(edges)}"
        )
    indices = [index for index, _ in edges]
    for index, key in zip(indices, keys, strict=True):
        _check_edge_index(index, key)
    weight = join_edge_values("edge_weight", [weight for _, weight in edges], indices, keys)
    joined = torch.cat([torch.empty(2, 0, dtype=torch.int64), *indices], dim=1)
    owners = torch.repeat_interleave(torch.tensor([index.shape[1] for index in indices]).long())
    sizes = torch.tensor(lengths).long()
    outside = ((joined < 0) | (joined >= sizes[owners])).any(0)  # (E,)
    if bool(outside.any()):
        edge = int(outside.nonzero()[0])
        owner = int(owners[edge])
        raise DataError(
            f"edge_index must name positions below the length, {lengths[owner]}, "
            f"got the edge {joined[:, edge].tolist()}",
            key=keys[owner],
        )
    return joined + (sizes.cumsum(0) - sizes)[owners], weight


def join_edge_values(
    name: str, values: Sequence[Tensor | None], indices: Sequence[Tensor], keys: Sequence[str]
) -> Tensor | None:
    """Join the weights or the columns of each sequence's edges; whole numbers become floats.

    Args:
        name: ``edge_weight`` or ``edge_attr``, for messages.
        values: of each sequence, or None; a sequence without edges may leave them out.
        indices: the edges of each sequence.
        keys: name of each sequence.

    Raises:
        DataError: if only some sequences have them, there is not one row per edge, or the
            columns differ.

    Shape:
        values (E,) or (E, F) each; indices (2, E) each. returns: all of them, or None.
    """
    given = [value for value in values if value is not None]
    if not given:
        return None
    for value, index, key in zip(values, indices, keys, strict=True):
        count = index.shape[1]
        if value is None and count:
            raise DataError(
                f"{name} must be given for all sequences of a batch or for none, "
                "got none here and some elsewhere",
                key=key,
            )
        expected = (count, *given[0].shape[1:])
        if value is not None and value.shape != expected:
            raise DataError(f"{name} must have shape {expected}, got {tuple(value.shape)}", key=key)
    joined = torch.cat(given)
    return joined if joined.is_floating_point() else joined.to(torch.get_default_dtype())


def merge_duplicate_edges(
    edge_index: Tensor, edge_weight: Tensor | None = None, edge_attr: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return every directed edge once, where it first stood, with the sum of its values.

    Raises:
        ValueError: if finite values have a sum that is not.

    Shape:
        edge_index (2, E); edge_weight (E,); edge_attr (E, F). returns: the same with E' <= E.
    """
    if edge_index.shape[1] < 2:
        return edge_index, edge_weight, edge_attr
    names = edge_index[0] * (edge_index[1].max() + 1) + edge_index[1]  # (E,), one per edge
    if bool((names[1:] > names[:-1]).all()):  # sorted and unique, as PyG's coalesce leaves them
        return edge_index, edge_weight, edge_attr
    unique, inverse = torch.unique(names, return_inverse=True)
    if len(unique) == len(names):
        return edge_index, edge_weight, edge_attr
    numbers = torch.arange(len(names), device=names.device)
    first = torch.full_like(unique, len(names)).scatter_reduce(0, inverse, numbers, "amin")
    kept, order = first.sort()
    places = order.argsort()[inverse]  # (E,), in 0 … E' - 1
    weight, attr = (
        None if values is None else values[kept].zero_().index_add(0, places, values)
        for values in (edge_weight, edge_attr)
    )
    for given, merged in ((edge_weight, weight), (edge_attr, attr)):
        if given is not None and merged is not None:
            _require_finite_sums(edge_index[:, kept], given, merged)
    return edge_index[:, kept], weight, attr


def _require_finite_sums(edge_index: Tensor, given: Tensor, merged: Tensor) -> None:
    wrong = (~merged.isfinite()).reshape(len(merged), -1).any(1).nonzero()
    if len(wrong) and bool(given.isfinite().all()):  # values that are not are named elsewhere
        source, target = edge_index[:, wrong[0, 0]].tolist()
        raise ValueError(
            "edges that stand more than once are summed, and the sum must be finite, got "
            f"{merged[wrong[0, 0]].tolist()} for the edge from node {source} to node {target}"
        )


def _check_edge_index(index: Tensor, key: str) -> None:
    if index.dim() != 2 or index.shape[0] != 2 or index.dtype != torch.int64:
        raise DataError(
            f"edge_index must be int64 of shape (2, E), got {index.dtype} {tuple(index.shape)}",
            key=key,
        )
