"""The one batch of the library: B sequences of any modality, end to end, never padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from seqattn.edges import Edge, join_edges, merge_duplicate_edges
from seqattn.errors import DataError
from seqattn.packing import Packing


@dataclass(frozen=True)
class Example:
    """One raw example, as a reader gives it.

    Args:
        source: raw input: text, tokens, a path, a waveform, a graph.
        target: raw target, or None.
        key: what names the example in messages and predictions, such as ``"train:203"``.
    """

    source: Any
    target: Any = None
    key: str = ""


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """B sequences that lie end to end in T positions.

    It is checked once, on the host, when made; :meth:`to` and :meth:`replace` do not check again.
    Then also a directed edge that is given more than once becomes one, with the sum of its values.

    Args:
        values: ids or floats. Shape: (T,) or (T, F).
        offsets: where each sequence begins, and T. Shape: (B + 1,) int64; B = 0 is legal.
        edge_index: source row, then target row, positions in 0 … T - 1, never across two
            sequences. Shape: (2, E), or None for no edge slot at all.
        edge_weight: finite weight of each edge. Shape: (E,), or None.
        edge_attr: several columns per edge. Shape: (E, F), or None.
        targets: per position (T,) or (T, V), per sequence (B,) or (B, V), or the packed batch of
            target sequences; None without.
        labelled: positions that carry a label. Shape: (T,) bool; None for all.
        keys: name of each sequence; made up from its number where left out.
        packing: the host's layout; made where left out.

    Raises:
        ValueError: if a rule above is broken; names the field and the value.
        DataError: the same where one example is at fault; names its key.
    """

    values: Tensor
    offsets: Tensor
    edge_index: Tensor | None = None
    edge_weight: Tensor | None = None
    edge_attr: Tensor | None = None
    targets: Tensor | SequenceBatch | None = None
    labelled: Tensor | None = None
    keys: tuple[str, ...] = ()
    packing: Packing = None  # type: ignore[assignment]  # always set after __post_init__

    def __post_init__(self) -> None:
        """Check every field, fill in `keys` and `packing`, and merge duplicate edges."""
        _check_offsets(self.values, self.offsets)
        names = self.keys or (str(i) for i in range(len(self)))
        object.__setattr__(self, "keys", tuple(names))
        if len(self.keys) != len(self):
            raise ValueError(f"keys must name {len(self)} sequences, got {len(self.keys)}")
        if self.packing is None:
            object.__setattr__(self, "packing", Packing.from_offsets(self.offsets))
        _check_packing(self.packing, self.offsets)
        _check_values(self)
        _check_edges(self)
        _check_targets(self)
        if self.edge_index is not None:
            merged = merge_duplicate_edges(self.edge_index, self.edge_weight, self.edge_attr)
            for name, value in zip(("edge_index", "edge_weight", "edge_attr"), merged, strict=True):
                object.__setattr__(self, name, value)

    @classmethod
    def from_list(
        cls,
        values: Sequence[Tensor],
        edges: Sequence[Edge] | None = None,
        *,
        targets: Tensor | SequenceBatch | None = None,
        keys: Sequence[str] = (),
    ) -> Self:
        """Pack sequences (L,) or (L, F), with edges local to each.

        Raises:
            ValueError: if `edges` does not have one entry per sequence, the sequences differ in
                their columns, or the batch breaks a rule of :class:`SequenceBatch`.
            DataError: if an edge leaves its sequence, or only some sequences are weighted.
        """
        columns = {value.shape[1:] for value in values}
        if len(columns) > 1:
            shapes = sorted(tuple(shape) for shape in columns)
            raise ValueError(f"values must have the same columns in all sequences, got {shapes}")
        lengths = [len(value) for value in values]
        packing = Packing.from_lengths(lengths)
        packed = torch.cat(list(values)) if values else torch.empty(0)
        index = weight = None
        if edges is not None:
            names = list(keys) or [str(i) for i in range(len(values))]
            index, weight = join_edges(edges, lengths, names)
        return cls(
            packed,
            packing.offsets,
            edge_index=index,
            edge_weight=weight,
            targets=targets,
            keys=tuple(keys),
            packing=packing,
        )

    def __len__(self) -> int:
        """Return B, the number of sequences."""
        return self.offsets.shape[0] - 1

    @property
    def lengths(self) -> Tensor:
        """Length of each sequence. Shape: (B,) int64."""
        return self.offsets.diff()

    @property
    def positions(self) -> Tensor:
        """Index of each position in its sequence, or what the front-end says. Shape: (T,)."""
        return self.packing.positions

    @property
    def sequence_ids(self) -> Tensor:
        """Number of the sequence that each position belongs to. Shape: (T,) int64."""
        return self.packing.sequence_ids

    @property
    def labelled_sequences(self) -> Tensor | None:
        """Sequences that count where each has one target; None for all. Shape: (B,) bool.

        One does not whose every position is unlabelled: a damaged example that was skipped.
        """
        if self.labelled is None:
            return None
        unlabelled = torch.zeros_like(self.lengths)
        unlabelled = unlabelled.index_add(0, self.sequence_ids, (~self.labelled).long())
        return (unlabelled < self.lengths) | (self.lengths == 0)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other fields, unchecked: for front-ends, whose input was checked.

        Raises:
            TypeError: if a field does not exist, or `offsets` come without their `packing`.
        """
        if "offsets" in changes and "packing" not in changes:
            raise TypeError("other offsets must be given with their packing, got offsets alone")
        copy = object.__new__(type(self))
        for name in _FIELDS:
            object.__setattr__(copy, name, changes.pop(name, getattr(self, name)))
        if changes:
            raise TypeError(f"SequenceBatch has no field {sorted(changes)[0]!r}")
        return copy

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the batch on a device, unchecked."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, function: Any) -> Self:
        moved = {}
        for name in _FIELDS:
            value = getattr(self, name)
            if isinstance(value, Tensor | SequenceBatch | Packing):
                moved[name] = function(value)
        return self.replace(**moved)


_FIELDS = tuple(field.name for field in fields(SequenceBatch))

# Lightning's precisions "64-true", "bf16-true" and "16-true" rebuild every dataclass they meet
# field by field, and refuse a frozen one. Without the mark of a dataclass a batch passes as it is;
# floats in it are the front-end's to cast to the type of its weights.
del SequenceBatch.__dataclass_fields__


def _check_offsets(values: Tensor, offsets: Tensor) -> None:
    if values.dim() not in (1, 2):
        raise ValueError(f"values must have shape (T,) or (T, F), got {tuple(values.shape)}")
    if offsets.dim() != 1 or offsets.dtype != torch.int64 or offsets.numel() == 0:
        raise ValueError(
            f"offsets must be int64 of shape (B + 1,), got {offsets.dtype} {tuple(offsets.shape)}"
        )
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0 or last != len(values):
        raise ValueError(f"offsets must run from 0 to T = {len(values)}, got {first} … {last}")
    steps = offsets.diff()
    if steps.numel() and int(steps.min()) < 0:
        raise ValueError(f"offsets must not decrease, got a step of {int(steps.min())}")


def _check_packing(packing: Packing, offsets: Tensor) -> None:
    if packing.offsets is not offsets and not torch.equal(packing.offsets, offsets):
        raise ValueError(
            f"packing must be the layout of offsets, got one of {len(packing)} sequences "
            f"with {packing.total} positions"
        )


def _check_values(batch: SequenceBatch) -> None:
    values = batch.values
    row = _first_not_finite(values)
    if row is not None:
        key, start = _owner(batch, row)
        raise DataError(
            f"values must be finite, got {values[row].tolist()} at position {row - start}", key=key
        )
    if batch.labelled is not None and (
        batch.labelled.shape != (len(values),) or batch.labelled.dtype != torch.bool
    ):
        raise ValueError(
            f"labelled must be bool of shape ({len(values)},), "
            f"got {batch.labelled.dtype} {tuple(batch.labelled.shape)}"
        )


def _check_edges(batch: SequenceBatch) -> None:
    index = batch.edge_index
    if index is None:
        if batch.edge_weight is not None or batch.edge_attr is not None:
            raise ValueError("edge_weight and edge_attr need an edge_index, got None")
        return
    if index.dim() != 2 or index.shape[0] != 2 or index.dtype != torch.int64:
        raise ValueError(
            f"edge_index must be int64 of shape (2, E), got {index.dtype} {tuple(index.shape)}"
        )
    total, count = len(batch.values), index.shape[1]
    if count and not (int(index.min()) >= 0 and int(index.max()) < total):
        raise ValueError(
            f"edge_index must lie in 0 … {total - 1}, got {int(index.min())} … {int(index.max())}"
        )
    owners = batch.packing.sequence_ids[index]  # (2, E)
    crossing = owners[0] != owners[1]
    if bool(crossing.any()):
        edge = int(crossing.nonzero()[0])
        key = batch.keys[int(owners[0, edge])]
        raise DataError(f"an edge must stay in its sequence, edge {edge} leaves it", key=key)
    for name in ("edge_weight", "edge_attr"):
        _check_edge_values(batch, name, getattr(batch, name), owners)


def _check_edge_values(
    batch: SequenceBatch, name: str, values: Tensor | None, owners: Tensor
) -> None:
    if values is None:
        return
    count, rank = owners.shape[1], 1 if name == "edge_weight" else 2
    if values.dim() != rank or values.shape[0] != count or not values.is_floating_point():
        shape = f"({count},)" if rank == 1 else f"({count}, F)"
        raise ValueError(
            f"{name} must be floats of shape {shape}, got {values.dtype} {tuple(values.shape)}"
        )
    edge = _first_not_finite(values)
    if edge is not None:
        raise DataError(
            f"{name} must be finite, got {values[edge].tolist()} at edge {edge}",
            key=batch.keys[int(owners[0, edge])],
        )


def _first_not_finite(values: Tensor) -> int | None:
    """Return the first row with a NaN or an infinity, or None. Shape: values (N,) or (N, F)."""
    if not values.is_floating_point() or bool(values.sum().isfinite()):
        return None  # one NaN or infinity makes the sum so; a finite overflow is looked at below
    wrong = (~values.isfinite()).nonzero()
    return int(wrong[0, 0]) if len(wrong) else None


def _check_targets(batch: SequenceBatch) -> None:
    targets = batch.targets
    if targets is None:
        return
    if isinstance(targets, SequenceBatch):
        if len(targets) != len(batch):
            raise ValueError(f"targets must hold {len(batch)} sequences, got {len(targets)}")
    elif targets.dim() not in (1, 2) or len(targets) not in (len(batch.values), len(batch)):
        raise ValueError(
            f"targets must have one row per position ({len(batch.values)}) or per sequence "
            f"({len(batch)}), got {tuple(targets.shape)}"
        )


def _owner(batch: SequenceBatch, row: int) -> tuple[str, int]:
    """Return the key of the sequence that holds a row, and where it starts."""
    number = int(batch.packing.sequence_ids[row])
    return batch.keys[number], int(batch.offsets[number])
