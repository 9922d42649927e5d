"""What the races compute on: ragged batches, packed and padded, and graphs, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqattn.packing import Packing


@dataclass(frozen=True)
class Ragged:
    """One batch of vectors, packed and padded.

    Args:
        packing: its layout.
        packed: Shape: (T, D).
        padded: Shape: (B, L, D).
        real: where there is no padding. Shape: (B, L) bool.
    """

    packing: Packing
    packed: Tensor
    padded: Tensor
    real: Tensor

    @classmethod
    def draw(cls, lengths: Sequence[int], dim: int, seed: int = 0) -> Ragged:
        """Draw the vectors of sequences of these lengths."""
        generator = torch.Generator().manual_seed(seed)
        packed = torch.randn(sum(lengths), dim, generator=generator)
        padded = nn.utils.rnn.pad_sequence(packed.split(list(lengths)), batch_first=True)
        real = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
        return cls(Packing.from_lengths(lengths), packed, padded, real)

    @property
    def fill(self) -> float:
        """The part of the padded batch that is real."""
        return float(self.real.float().mean())


def ragged_batches(
    count: int, size: int, shortest: int, longest: int, *, by_length: bool, seed: int = 0
) -> list[list[int]]:
    """Return the lengths of `count` batches, drawn at random or, sorted, cut from one pool."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randint(shortest, longest + 1, (count * size,), generator=generator)
    if by_length:
        pool = pool.sort().values
    return [batch.tolist() for batch in pool.split(size)]


def length_sorted_batches(
    size: int, shortest: int, longest: int, *, pool: int = 50
) -> list[list[int]]:
    """Return the lengths of three batches that a sampler gives which sorts a pool by length.

    Those at the 10th, 50th and 90th percentile of the batches of one pool.
    """
    batches = ragged_batches(pool, size, shortest, longest, by_length=True)
    return [batches[pool * percentile // 100] for percentile in (10, 50, 90)]


@dataclass(frozen=True)
class Graphs:
    """A batch of graphs with self-loops and a weight per edge.

    Args:
        packing: layout of the nodes.
        edge_index: sorted by source, as PyG's coalesce leaves it. Shape: (2, E).
        edge_weight: Shape: (E,).
    """

    packing: Packing
    edge_index: Tensor
    edge_weight: Tensor

    @classmethod
    def draw(cls, lengths: Sequence[int], degree: float, seed: int = 0) -> Graphs:
        """Draw graphs of these sizes in which a node reads `degree` others in the mean."""
        generator = torch.Generator().manual_seed(seed)
        parts, start = [], 0
        for length in lengths:
            if length > _LARGE:
                chosen = _few_pairs(length, degree, generator)
            else:
                density = min(degree / max(length - 1, 1), 1.0)
                seen = torch.rand(length, length, generator=generator) < density
                chosen = seen.fill_diagonal_(True).nonzero().T
            parts.append(chosen + start)
            start += length
        index = torch.cat(parts, dim=1)
        weight = torch.rand(index.shape[1], generator=generator)
        return cls(Packing.from_lengths(lengths), index, weight)

    @property
    def batch(self) -> Tensor:
        """Number of each node's graph. Shape: (T,)."""
        return self.packing.sequence_ids

    def describe(self) -> str:
        """Return the sizes in words."""
        nodes, edges = self.packing.total, self.edge_index.shape[1]
        return f"{len(self.packing)} graphs, {nodes} nodes, {edges} edges with self-loops"


# Above so many nodes, pairs are drawn one by one instead of from a matrix.
_LARGE = 1000


def _few_pairs(length: int, degree: float, generator: torch.Generator) -> Tensor:
    loops = torch.arange(length).expand(2, -1)
    drawn = torch.randint(length, (2, round(degree * length)), generator=generator)
    return torch.unique(torch.cat([loops, drawn], dim=1), dim=1)
