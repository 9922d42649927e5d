"""Micro-batches of similar length under a token budget, in an order that can be resumed."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from seqattn.data.epochs import EpochSampler

Member = tuple[int, int | None]
"""An example's index and the seed of its augmentation; None for no augmentation."""

_POOL = 50
"""Batches' worth of tokens that are sorted together: large enough to make lengths similar, small
enough to keep the order random."""

_SURVEYED = 4
"""Epochs whose plans decide the number of micro-batches of every epoch."""

_SHUFFLE, _DRAW, _ORDER = 0, 1, 2
"""Independent streams of random bits of one epoch."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class TokenBatchSampler(EpochSampler[Member]):
    """Yields lists of (index, draw), for ``DataLoader(batch_sampler=…)``.

    The list of an epoch's micro-batches is a pure function of (seed, epoch); how ranks share it
    out stands in :class:`~seqattn.data.epochs.EpochSampler`.

    In training the examples are shuffled, sorted by length within pools, cut into micro-batches
    and those shuffled; draw = f(seed, epoch, index). In evaluation they are sorted by length,
    longest first, and draw is None.

    Args:
        lengths: tokens of each example. An empty example counts as one, which bounds the number
            of examples in a micro-batch.
        batch_tokens: budget of a micro-batch. In evaluation a longer example goes alone.
        seed: any integer.
        shuffle: True in training, False in evaluation.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        ValueError: if an argument is out of range, or a training example exceeds the budget.
    """

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[np.int64],
        batch_tokens: int,
        *,
        seed: int = 0,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        sizes = np.asarray(lengths, dtype=np.int64)
        _check(sizes, batch_tokens, shuffle)
        super().__init__(rank, world_size)
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.shuffle = shuffle
        self._costs = np.maximum(sizes, 1)
        self._widest = 0
        self._count = self._survey()

    @property
    def total(self) -> int:
        """Micro-batches of an epoch, of all ranks together, without the filling."""
        return self._count

    def plan(self, epoch: int) -> Callable[[int], list[Member]]:
        """Return what gives each micro-batch of an epoch by its number."""
        return partial(self._cut_epoch(epoch).members, draws=self._draws(epoch))

    def _survey(self) -> int:
        """Return the number of micro-batches of every epoch; note an epoch that has so many."""
        if not self.shuffle:
            return len(_cut_sorted(self._costs, self.batch_tokens).spans)
        counts = [len(self._cut_shuffled(epoch).spans) for epoch in range(_SURVEYED)]
        self._widest = int(np.argmax(counts))
        return counts[self._widest]

    def _cut_epoch(self, epoch: int) -> _Plan:
        """Return the plan of an epoch, with exactly as many micro-batches as every other.

        A plan with fewer has its largest split; there are enough examples, since no micro-batch of
        the widest surveyed plan is empty. A plan with more gives way to that widest plan, which
        fits by definition; its micro-batches come in an order of their own.
        """
        if not self.shuffle:
            return _cut_sorted(self._costs, self.batch_tokens)
        plan = self._cut_shuffled(epoch)
        if len(plan.spans) > self._count:
            plan = self._cut_shuffled(self._widest)
        spans = _split_largest(plan.spans, self._costs[plan.order], self._count)
        turns = np.argsort(_random_bits(self.seed, epoch, _ORDER, len(spans)), kind="stable")
        return _Plan(plan.order, [spans[turn] for turn in turns])

    def _cut_shuffled(self, epoch: int) -> _Plan:
        """Shuffle, sort each pool by length, and cut.

        Every other pool runs from long to short, so that lengths are similar across the seams and
        only the last micro-batch of the epoch is left unfilled.
        """
        bits = _random_bits(self.seed, epoch, _SHUFFLE, len(self._costs))
        order = np.argsort(bits, kind="stable")
        costs = self._costs[order]
        pools = (np.cumsum(costs) - costs) // (_POOL * self.batch_tokens)
        lengths = np.where(pools % 2 == 0, costs, -costs)
        inside = np.lexsort((lengths, pools))
        return _Plan(order[inside], _cut(costs[inside], self.batch_tokens))

    def _draws(self, epoch: int) -> list[int] | None:
        if not self.shuffle:
            return None
        bits = _random_bits(self.seed, epoch, _DRAW, len(self._costs))
        draws: list[int] = (bits >> np.uint64(1)).tolist()  # 63 bits: torch's seeds are signed
        return draws


Span = tuple[int, int]
"""Where a micro-batch begins and ends in the order of its plan."""


@dataclass(frozen=True)
class _Plan:
    """An order of the examples, and the spans of it that are micro-batches."""

    order: NDArray[np.int64]
    spans: list[Span]

    def members(self, number: int, draws: list[int] | None) -> list[Member]:
        start, end = self.spans[number]
        indices = self.order[start:end].tolist()
        return [(index, None if draws is None else draws[index]) for index in indices]


def _check(sizes: NDArray[np.int64], batch_tokens: int, shuffle: bool) -> None:
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}")
    if sizes.ndim != 1:
        raise ValueError(f"lengths must be a flat list, got shape {sizes.shape}")
    if len(sizes) and int(sizes.min()) < 0:
        at = int(sizes.argmin())
        raise ValueError(f"lengths must not be negative, got {sizes[at]} at index {at}")
    if shuffle and len(sizes) and int(sizes.max()) > batch_tokens:
        at = int(sizes.argmax())
        raise ValueError(
            f"lengths must be at most batch_tokens = {batch_tokens} in training, "
            f"got {sizes[at]} at index {at}"
        )


def _cut_sorted(costs: NDArray[np.int64], budget: int) -> _Plan:
    """Sort by length, longest first, so that what does not fit into memory fails at once."""
    order = np.argsort(-costs, kind="stable")
    return _Plan(order, _cut(costs[order], budget))


def _cut(costs: NDArray[np.int64], budget: int) -> list[Span]:
    """Fill one micro-batch after the other; what exceeds the budget alone goes alone."""
    ends = np.cumsum(costs).tolist()
    spans, start, spent = [], 0, 0
    while start < len(ends):
        end = max(bisect_right(ends, spent + budget, lo=start), start + 1)
        spans.append((start, end))
        start, spent = end, ends[end - 1]
    return spans


def _split_largest(spans: list[Span], costs: NDArray[np.int64], count: int) -> list[Span]:
    """Halve the micro-batch of most tokens again and again until there are `count`.

    Examples are not halved, so micro-batches of one example stay as they are.
    """
    if len(spans) == count:
        return spans
    before = np.concatenate([[0], np.cumsum(costs)]).tolist()
    single = [(start, end) for start, end in spans if end - start == 1]
    heap = [(before[start] - before[end], start, end) for start, end in spans if end - start > 1]
    heapq.heapify(heap)
    while len(single) + len(heap) < count:
        _, start, end = heapq.heappop(heap)
        half = bisect_right(before, (before[start] + before[end]) // 2, lo=start + 1, hi=end - 1)
        for part in ((start, half), (half, end)):
            if part[1] - part[0] == 1:
                single.append(part)
            else:
                heapq.heappush(heap, (before[part[0]] - before[part[1]], *part))
    return sorted(single + [(start, end) for _, start, end in heap])


def _random_bits(seed: int, epoch: int, stream: int, count: int) -> NDArray[np.uint64]:
    """Return `count` random words of 64 bits, a pure function of the arguments.

    SplitMix64 (Steele, Lea and Flood 2014), started at a mixture of seed, epoch and stream: word i
    needs no other word. It is written out because NumPy may change its generators' output.
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in (seed, epoch, stream):
        state = _mix(state + _GOLDEN + np.uint64(word % 2**64))
    return _mix(state + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble the bits of each word, one to one."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
