"""Where packed rows lie in padded blocks, against slow walks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqattn.attention.blocks import (
    HeadRows,
    gather_parts,
    gather_rows,
    return_parts,
    score_rows,
    side_by_side,
    split_heads,
)
from seqattn.packing import Packing

LENGTHS = st.lists(st.integers(0, 12), max_size=8)


def slots_by_hand(packing, heads):
    """Yield (position, head, is padding) of each slot of the blocks (b, H, L) of all groups."""
    start = 0
    for group in packing.groups:
        for sequence in range(group.size):
            for head in range(heads):
                for step in range(group.length):
                    slot = start + sequence * group.length + step
                    yield int(packing.padded_rows[slot]), head, bool(packing.padding[slot])
        start += group.size * group.length


@given(LENGTHS, st.integers(1, 3))
def test_rows_of_heads_equal_a_slow_walk_over_the_blocks(lengths, heads):
    packing = Packing.from_lengths(lengths)
    slots = list(slots_by_hand(packing, heads))

    found = HeadRows.of(packing, heads)

    assert found.rows.tolist() == [position * heads + head for position, head, _ in slots]
    assert sorted(found.padding.tolist()) == [i for i, (_, _, pads) in enumerate(slots) if pads]
    real = {(p, head): i for i, (p, head, pads) in enumerate(slots) if not pads}
    assert found.packed.tolist() == [real[key] for key in sorted(real)]


def test_rows_of_matrices_when_written_out_by_hand():
    # A group of one sequence of 3, then a group of two of 1.
    starts, diagonal = score_rows(Packing.from_lengths([1, 3, 1]))
    assert starts.tolist() == [0, 3, 6, 9, 10]
    assert diagonal.tolist() == [0, 4, 8, 9, 10]


@given(LENGTHS.filter(any))
def test_parts_that_lie_side_by_side_are_gathered_and_returned_together(lengths):
    packing = Packing.from_lengths(lengths)
    projected = torch.randn(packing.total, 18)
    parts = split_heads(projected, 2, (3, 3, 3))

    (stack,) = gather_parts(parts, packing)
    apart = gather_parts([part.contiguous() for part in parts], packing)

    assert torch.equal(stack, torch.cat(apart))
    for stacks in ([stack], apart):
        for found, part in zip(return_parts(stacks, packing, 2), parts, strict=True):
            assert torch.equal(found, part)
    assert torch.equal(gather_rows(parts[1], packing), stack[1])


def test_returned_parts_lie_side_by_side():
    packing = Packing.from_lengths([4, 2])
    stacks = gather_parts(split_heads(torch.randn(6, 12), 2, (2, 2, 2)), packing)
    joined = side_by_side(return_parts(stacks, packing, 2))
    assert joined is not None
    assert joined.shape == (6, 6, 2)


def test_side_by_side_is_the_tensor_that_was_cut():
    whole = torch.randn(4, 6, 3)
    joined = side_by_side(whole.split(2, dim=1))
    assert joined is not None
    assert joined.data_ptr() == whole.data_ptr()
    assert torch.equal(joined, whole)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x.split(2, dim=1)[::-1],
        lambda x: (x[:, :2], x[:, 2:4]),  # the rest of each position is missing
        lambda x: (x[:, :2], x[:, 2:5]),
        lambda x: (x[:, :2].contiguous(), x[:, 2:4].contiguous(), x[:, 4:].contiguous()),
        lambda x: (x[:, :2], x.clone()[:, 2:4], x[:, 4:]),
    ],
    ids=["turned", "part", "widths", "copies", "storage"],
)
def test_other_tensors_do_not_lie_side_by_side(cut):
    assert side_by_side(cut(torch.randn(4, 6, 3))) is None


@pytest.mark.parametrize("widths", [(3, 3, 3), (2, 2, 5)])
def test_heads_are_split_like_a_view_with_its_gradient(widths):
    x = torch.randn(5, 2 * sum(widths), dtype=torch.float64, requires_grad=True)

    parts = split_heads(x, 2, widths)

    flat = [part.flatten(1) for part in parts]
    assert torch.equal(torch.cat(flat, dim=1), x)
    assert [part.shape for part in parts] == [(5, 2, width) for width in widths]
    assert torch.autograd.gradcheck(lambda x: split_heads(x, 2, widths), (x,))
    assert torch.autograd.gradgradcheck(
        lambda x: [y.sin() for y in split_heads(x, 2, widths)], (x,)
    )


def test_gradients_that_lie_side_by_side_are_joined_without_a_copy():
    x = torch.randn(5, 12, requires_grad=True)
    grads = torch.randn(5, 6, 2)
    (found,) = torch.autograd.grad(split_heads(x, 2, (2, 2, 2)), x, grads.split(2, dim=1))
    assert found.data_ptr() == grads.data_ptr()
    assert torch.equal(found, grads.flatten(1))
