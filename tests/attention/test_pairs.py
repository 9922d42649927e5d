"""Pairs of sequences and memories: how they are grouped, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqattn import Packing
from seqattn.attention.pairs import Pairs, group_pairs

SIZES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=12)


@given(SIZES)
def test_every_pair_with_positions_on_both_sides_is_in_one_group(
    sizes: list[tuple[int, int]],
) -> None:
    pairs = Pairs.of(*(Packing.from_lengths([size[side] for size in sizes]) for side in (0, 1)))
    alive = [size for size in sizes if min(size)]
    for side, blocks in enumerate((pairs.query_blocks, pairs.memory_blocks)):
        assert list(blocks.lengths) == [size[side] for size in alive]
        assert sum(group.size for group in blocks.groups) == len(alive)
        rows = (pairs.query_rows, pairs.memory_rows)[side]
        kept = [min(size) > 0 for size in sizes for _ in range(size[side])]
        if rows is None:
            assert all(kept)
        else:
            assert rows.tolist() == np.flatnonzero(kept).tolist()


def test_both_sides_are_in_the_same_groups() -> None:
    lengths, memory = [200, 3, 190, 2], [5, 120, 100, 118]
    pairs = Pairs.of(Packing.from_lengths(lengths), Packing.from_lengths(memory))
    members = zip(pairs.query_blocks.groups, pairs.memory_blocks.groups, strict=True)
    found = [list(zip(q.lengths, m.lengths, strict=True)) for q, m in members]
    assert sorted(sum(found, [])) == sorted(zip(lengths, memory, strict=True))
    assert sorted(map(sorted, found)) == [[(2, 118), (3, 120)], [(190, 100)], [(200, 5)]]


def test_short_pairs_share_one_group() -> None:
    sizes = np.array([[1, 9], [9, 1], [5, 5], [2, 2]])
    assert [sorted(group) for group in group_pairs(sizes)] == [[0, 1, 2, 3]]


def test_padding_of_a_memory_is_hidden() -> None:
    pairs = Pairs.of(Packing.from_lengths([2, 2]), Packing.from_lengths([1, 2]))
    bias = pairs.bias(0, torch.float64)
    assert bias is not None
    assert sorted(bias[:, 0, 0].tolist()) == [[0.0, -torch.inf], [0.0, 0.0]]
    full = Pairs.of(Packing.from_lengths([1, 2]), Packing.from_lengths([2, 2]))
    assert full.bias(0, torch.float64) is None


def test_another_number_of_memories_is_refused() -> None:
    with pytest.raises(ValueError, match=r"memory must hold one sequence .* \(2\), got 1"):
        Pairs.of(Packing.from_lengths([1, 2]), Packing.from_lengths([3]))
