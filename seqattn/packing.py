"""What kernels must know on the host about a packed batch, computed once before it moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_IntArray = npt.NDArray[np.int64]
_BoolArray = npt.NDArray[np.bool_]

# Sequences share a padded block while the shortest is at least this part of the longest. The
# lower it is, the fewer blocks (less overhead per block) and the more padding inside them.
_SIMILAR = 0.8

Derived = TypeVar("Derived")


@dataclass(frozen=True)
class LengthGroup:
    """Sequences of similar length that a kernel may pad together: plain numbers, no tensor.

    Args:
        size: how many sequences, b.
        length: the longest of them, L.
        lengths: the length of each.
    """

    size: int
    length: int
    lengths: tuple[int, ...]

    @property
    def is_full(self) -> bool:
        """Whether all have the same length, so that no mask is needed."""
        return self.size * self.length == sum(self.lengths)


@dataclass(frozen=True, eq=False)
class Packing:
    """Layout of B sequences that lie end to end in T positions.

    The numbers in Python live on the host, so that no kernel waits for a GPU to tell a length.
    The tensors move with the batch. Make one with :meth:`from_lengths`.

    Args:
        lengths: length of each sequence, B numbers on the host.
        groups: sequences grouped by similar length, longest first; empty sequences in none.
        offsets: where each sequence begins. Shape: (B + 1,) int64.
        cu_seqlens: the same for varlen kernels. Shape: (B + 1,) int32.
        positions: index of each position in its sequence, or what a front-end says it is.
            Shape: (T,) int64.
        padded_rows: for the padded blocks of all groups, one after the other (P slots in all),
            the position that a slot holds; a slot of padding holds the first of its sequence.
            Shape: (P,) int64.
        packed_rows: for each position its slot in the padded blocks. Shape: (T,) int64.
        padding: which slots are padding. Shape: (P,) bool.
        in_order: whether `positions` counts 0, 1, 2 … in each sequence.
    """

    lengths: tuple[int, ...]
    groups: tuple[LengthGroup, ...]
    offsets: Tensor
    cu_seqlens: Tensor
    positions: Tensor
    padded_rows: Tensor
    packed_rows: Tensor
    padding: Tensor
    in_order: bool = True

    @classmethod
    def from_lengths(
        cls, lengths: Sequence[int], members: Sequence[Sequence[int]] | None = None
    ) -> Self:
        """Make the layout of sequences of these lengths, on the host.

        Args:
            lengths: of each sequence.
            members: the numbers of the sequences of each group, each that is not empty in one;
                by default those of similar length.

        Raises:
            ValueError: if a length is negative.
        """
        lengths = tuple(int(length) for length in lengths)
        if min(lengths, default=0) < 0:
            raise ValueError(f"lengths must not be negative, got {min(lengths)}")
        sizes = np.array(lengths, dtype=np.int64)
        bounds = np.concatenate([[0], sizes.cumsum()])
        steps = np.arange(bounds[-1]) - bounds[:-1].repeat(sizes)
        members = _group_by_length(lengths) if members is None else members
        groups = tuple(_describe(group, lengths) for group in members)
        tables = (bounds, steps, *_pad_rows(members, groups, bounds, steps))
        offsets, positions, rows, packed, padding = (torch.from_numpy(table) for table in tables)
        return cls(lengths, groups, offsets, offsets.int(), positions, rows, packed, padding)

    @classmethod
    def from_offsets(cls, offsets: Tensor) -> Self:
        """Make the layout from offsets (B + 1,); waits for the device that holds them.

        Raises:
            ValueError: if they do not begin at 0, or decrease.
        """
        if offsets.dim() != 1:
            raise ValueError(f"offsets must have shape (B + 1,), got {tuple(offsets.shape)}")
        bounds = offsets.tolist()
        if bounds[:1] != [0]:
            raise ValueError(f"offsets must begin at 0, got {bounds[:1]}")
        pairs = zip(bounds, bounds[1:], strict=False)
        return cls.from_lengths([end - start for start, end in pairs]).to(offsets.device)

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    @property
    def total(self) -> int:
        """T, the number of positions."""
        return self.positions.shape[0]

    @cached_property
    def has_padding(self) -> bool:
        """Whether the padded blocks hold more slots than there are positions."""
        return self.padded_rows.shape[0] > self.total

    @cached_property
    def max_length(self) -> int:
        """Length of the longest sequence, 0 without any."""
        return max(self.lengths, default=0)

    @cached_property
    def sequence_ids(self) -> Tensor:
        """Number of the sequence of each position. Shape: (T,) int64."""
        sizes = self.offsets.diff()
        numbers = torch.arange(len(self), device=sizes.device)
        return numbers.repeat_interleave(sizes, output_size=self.total)

    def once(self, key: Hashable, make: Callable[[], Derived]) -> Derived:
        """Return what `make` gives, made at the first call with this key and kept.

        For what kernels derive from the layout: indices are then made once per batch, and not by
        every layer. They stay behind when the layout moves to another device.
        """
        kept: dict[Hashable, Any] = self.__dict__.setdefault("_derived", {})
        if key not in kept:
            kept[key] = make()
        found: Derived = kept[key]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was derived when a loader's worker sends the layout to its parent."""
        return {name: value for name, value in self.__dict__.items() if name != "_derived"}

    def with_positions(self, positions: Tensor) -> Self:
        """Return the same layout with other positions (T,), for sets without an order.

        Raises:
            ValueError: if there is not one position per row.
        """
        if positions.shape != self.positions.shape:
            raise ValueError(
                f"positions must have shape {tuple(self.positions.shape)}, "
                f"got {tuple(positions.shape)}"
            )
        return replace(self, positions=positions, in_order=False)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the layout with its tensors on a device."""
        if self.offsets.device == torch.device(device):
            return self
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the layout with its tensors in pinned memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Any) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {k: function(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        return type(self)(**moved)


def _group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Split the sequences, longest first, where the next is much shorter than the first."""
    order = sorted((i for i, n in enumerate(lengths) if n > 0), key=lambda i: -lengths[i])
    groups: list[list[int]] = []
    for index in order:
        if not groups or lengths[index] < _SIMILAR * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups


def _describe(members: Sequence[int], lengths: Sequence[int]) -> LengthGroup:
    own = tuple(lengths[index] for index in members)
    return LengthGroup(size=len(own), length=max(own), lengths=own)


def _pad_rows(
    members: Sequence[Sequence[int]],
    groups: Sequence[LengthGroup],
    offsets: _IntArray,
    positions: _IntArray,
) -> tuple[_IntArray, _IntArray, _BoolArray]:
    """Return the position in each slot of the padded blocks, each position's slot, the padding."""
    sizes = np.diff(offsets)
    order = np.array([index for group in members for index in group], dtype=np.int64)
    widths = np.repeat(
        np.array([group.length for group in groups], dtype=np.int64),
        np.array([group.size for group in groups], dtype=np.int64),
    )
    starts = widths.cumsum() - widths  # first slot of each sequence, in the order of the groups
    steps = np.arange(widths.sum()) - starts.repeat(widths)  # (P,)
    padding = steps >= sizes[order].repeat(widths)
    steps[padding] = 0
    first = np.zeros_like(sizes)
    first[order] = starts
    return offsets[order].repeat(widths) + steps, first.repeat(sizes) + positions, padding
