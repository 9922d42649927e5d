"""Epochs of micro-batches that ranks share out, and that can be resumed anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from torch.utils.data import Sampler

Item = TypeVar("Item")


class EpochSampler(Sampler[list[Item]], ABC):
    """Yields one rank's micro-batches of an epoch, for ``DataLoader(batch_sampler=…)``.

    The list of an epoch's micro-batches, which a subclass plans, ignores the number of ranks: rank
    r of W takes every W-th, and the last round is filled with empty micro-batches, so that all
    ranks have equally many and every example counts once. All epochs have equally many. No random
    state is kept anywhere.

    Args:
        rank: number of this process.
        world_size: number of processes.

    Raises:
        ValueError: if `rank` is not below `world_size`.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0 … world_size - 1 = {world_size - 1}, got {rank}")
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.position = 0

    @property
    @abstractmethod
    def total(self) -> int:
        """Micro-batches of an epoch, of all ranks together, without the filling."""

    @abstractmethod
    def plan(self, epoch: int) -> Callable[[int], list[Item]]:
        """Return what gives each micro-batch of an epoch by its number, from 0 to total - 1."""

    @property
    def sampler(self) -> Self:
        """Itself: Lightning calls `set_epoch` on the sampler of a batch sampler, not on it."""
        return self

    def __len__(self) -> int:
        """Return the micro-batches of an epoch on this rank, the filling included."""
        return -(-self.total // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch: to its beginning, or where :meth:`resume` said if that was its epoch."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def resume(self, epoch: int, position: int) -> None:
        """Leave out the first micro-batches of one epoch, counted on this rank.

        Raises:
            ValueError: if the epoch has no such position.
        """
        if not 0 <= position <= len(self):
            raise ValueError(f"position must lie in 0 … {len(self)}, got {position}")
        self.epoch, self.position = epoch, position

    def __iter__(self) -> Iterator[list[Item]]:
        """Yield this rank's micro-batches, from `position` on.

        Epoch and position are read with the first micro-batch: a loader with workers asks for an
        iterator twice, and Lightning sets the epoch after it asked.
        """
        members = self.plan(self.epoch)
        start, stop = self.position * self.world_size, len(self) * self.world_size
        for number in range(start + self.rank, stop, self.world_size):
            yield members(number) if number < self.total else []

    def batches(self, epoch: int) -> list[list[Item]]:
        """Return all micro-batches of an epoch, of all ranks, without the filling."""
        members = self.plan(epoch)
        return [members(number) for number in range(self.total)]
