"""What kernels must know on the host about a packed batch, computed once before it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

# Sequences share a padded block while the shortest is at least this part of the longest. The
# lower it is, the fewer blocks (less overhead per block) and the more padding inside them.
_SIMILAR = 0.8


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


@dataclass(frozen=True)
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
    def from_lengths(cls, lengths: Sequence[int]) -> Self:
        """Make the layout of sequences of these lengths, on the host.

        Raises:
            ValueError: if a length is negative.
        """
        lengths = tuple(int(length) for length in lengths)
        if any(length < 0 for length in lengths):
            raise ValueError(f"lengths must not be negative, got {min(lengths)}")
        sizes = torch.tensor(lengths, dtype=torch.int64)
        offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64)
        torch.cumsum(sizes, 0, out=offsets[1:])
        positions = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(sizes)
        members = _group_by_length(lengths)
        groups = tuple(_describe(group, lengths) for group in members)
        rows, padding = _pad_rows(members, groups, offsets, sizes)
        packed = torch.empty(int(offsets[-1]), dtype=torch.int64)
        slots = (~padding).nonzero().flatten()
        packed[rows[slots]] = slots
        return cls(lengths, groups, offsets, offsets.int(), positions, rows, packed, padding)

    @classmethod
    def from_offsets(cls, offsets: Tensor) -> Self:
        """Make the layout from offsets (B + 1,); waits for the device that holds them."""
        bounds = offsets.tolist()
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
    offsets: Tensor,
    sizes: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the position in each slot of the padded blocks, and which slots are padding."""
    rows, padding = [], []
    for indices, group in zip(members, groups, strict=True):
        chosen = torch.tensor(indices)
        steps = torch.arange(group.length)
        beyond = steps >= sizes[chosen, None]  # (b, L)
        rows.append((offsets[chosen, None] + steps.masked_fill(beyond, 0)).flatten())
        padding.append(beyond.flatten())
    if not rows:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool)
    return torch.cat(rows), torch.cat(padding)
