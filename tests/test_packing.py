import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqattn import Encoder, Packing

LENGTHS = st.lists(st.integers(0, 12), max_size=8)
TENSORS = ("offsets", "cu_seqlens", "positions", "padded_rows", "packed_rows", "padding")


def test_layout_when_written_out_by_hand() -> None:
    packing = Packing.from_lengths([2, 0, 5, 1])
    assert packing.lengths == (2, 0, 5, 1)
    assert packing.offsets.tolist() == [0, 2, 2, 7, 8]
    assert packing.positions.tolist() == [0, 1, 0, 1, 2, 3, 4, 0]
    assert packing.sequence_ids.tolist() == [0, 0, 2, 2, 2, 2, 2, 3]
    assert (len(packing), packing.total, packing.max_length) == (4, 8, 5)


def test_padded_blocks_when_written_out_by_hand() -> None:
    # 4 is at least 0.8 of 5, so both share a block of 2 x 5 slots; the sequence of 1 has its own.
    packing = Packing.from_lengths([4, 1, 5])
    assert [(group.size, group.length) for group in packing.groups] == [(2, 5), (1, 1)]
    assert packing.padded_rows.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 0, 4]
    assert packing.padding.nonzero().flatten().tolist() == [9]
    assert packing.packed_rows.tolist() == [5, 6, 7, 8, 10, 0, 1, 2, 3, 4]
    assert packing.has_padding


def test_dtypes_of_tensors() -> None:
    packing = Packing.from_lengths([2, 3])
    assert packing.cu_seqlens.dtype == torch.int32
    assert packing.padding.dtype == torch.bool
    for name in ("offsets", "positions", "padded_rows", "packed_rows", "sequence_ids"):
        assert getattr(packing, name).dtype == torch.int64


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_layout_when_there_is_no_position(lengths: list[int]) -> None:
    packing = Packing.from_lengths(lengths)
    assert packing.offsets.tolist() == [0] * (len(lengths) + 1)
    assert (packing.total, packing.max_length, packing.groups) == (0, 0, ())
    assert not packing.has_padding
    assert all(len(getattr(packing, name)) == 0 for name in TENSORS[2:])


@given(LENGTHS)
def test_padding_then_packing_gives_every_row_back(lengths: list[int]) -> None:
    packing = Packing.from_lengths(lengths)
    rows = torch.arange(packing.total)
    assert torch.equal(rows[packing.padded_rows][packing.packed_rows], rows)


@given(LENGTHS)
def test_packed_rows_and_padding_share_out_all_slots(lengths: list[int]) -> None:
    packing = Packing.from_lengths(lengths)
    slots = [*packing.packed_rows.tolist(), *packing.padding.nonzero().flatten().tolist()]
    assert sorted(slots) == list(range(len(packing.padded_rows)))


@given(LENGTHS)
def test_padded_rows_equal_a_slow_walk_over_the_groups(lengths: list[int]) -> None:
    packing = Packing.from_lengths(lengths)
    waiting = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i])
    expected = []
    for group in packing.groups:
        for own in group.lengths:
            start = sum(lengths[: waiting.pop(0)])
            expected += [start + (step if step < own else 0) for step in range(group.length)]
    assert not waiting
    assert packing.padded_rows.tolist() == expected


@given(LENGTHS)
def test_groups_hold_similar_lengths_and_are_as_few_as_that_allows(lengths: list[int]) -> None:
    groups = Packing.from_lengths(lengths).groups
    for group in groups:
        assert min(group.lengths) >= 0.8 * group.length
        assert (max(group.lengths), len(group.lengths)) == (group.length, group.size)
        assert group.is_full == (len(set(group.lengths)) == 1)
    for group, following in zip(groups, groups[1:], strict=False):
        assert following.length < 0.8 * group.length


@given(LENGTHS)
def test_layout_from_offsets_equals_layout_from_lengths(lengths: list[int]) -> None:
    expected = Packing.from_lengths(lengths)
    packing = Packing.from_offsets(expected.offsets)
    assert (packing.lengths, packing.groups) == (expected.lengths, expected.groups)
    assert all(torch.equal(getattr(packing, name), getattr(expected, name)) for name in TENSORS)


def test_positions_when_a_front_end_gives_them() -> None:
    packing = Packing.from_lengths([2, 1])
    flat = packing.with_positions(torch.zeros(3, dtype=torch.int64))
    assert flat.positions.tolist() == [0, 0, 0]
    assert not flat.in_order
    assert packing.in_order
    assert packing.positions.tolist() == [0, 1, 0]
    assert flat.groups is packing.groups


def test_positions_are_refused_when_they_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"positions must have shape \(3,\), got \(2,\)"):
        Packing.from_lengths([2, 1]).with_positions(torch.zeros(2, dtype=torch.int64))


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="lengths must not be negative, got -1"):
        Packing.from_lengths([2, -1])


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([1, 3], r"offsets must begin at 0, got \[1\]"),
        ([], r"offsets must begin at 0, got \[\]"),
        ([[0, 3]], r"offsets must have shape \(B \+ 1,\), got \(1, 2\)"),
        ([0, 3, 2], "lengths must not be negative, got -1"),
    ],
)
def test_offsets_are_refused_when_no_layout(offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Packing.from_offsets(torch.tensor(offsets, dtype=torch.int64))


def test_layout_when_pickled() -> None:
    packing = Packing.from_lengths([2, 0, 3]).with_positions(torch.tensor([1, 0, 2, 2, 2]))
    copied = pickle.loads(pickle.dumps(packing))
    assert (copied.lengths, copied.groups, copied.in_order) == ((2, 0, 3), packing.groups, False)
    assert all(torch.equal(getattr(copied, name), getattr(packing, name)) for name in TENSORS)


def test_derived_is_made_once_for_each_key() -> None:
    packing, calls = Packing.from_lengths([2, 1]), []

    def make() -> list[int]:
        calls.append(len(calls))
        return [len(calls)]

    first = packing.once(("rows", 2), make)
    assert packing.once(("rows", 2), make) is first
    assert packing.once(("rows", 3), make) == [2]
    assert calls == [0, 1]


def test_derived_is_made_once_when_it_is_none_or_empty() -> None:
    packing, calls = Packing.from_lengths([2]), []
    for value in (None, 0, []):
        for _ in range(2):
            assert (
                packing.once(str(value), lambda value=value: calls.append(value) or value) == value
            )
    assert calls == [None, 0, []]


def test_derived_that_fails_is_made_again() -> None:
    packing = Packing.from_lengths([2])

    def fail() -> int:
        raise ZeroDivisionError("the first time")

    with pytest.raises(ZeroDivisionError, match="the first time"):
        packing.once("key", fail)
    assert packing.once("key", lambda: 5) == 5


def test_derived_may_need_what_is_derived_itself() -> None:
    packing = Packing.from_lengths([2])
    found = packing.once("outer", lambda: packing.once("inner", lambda: 2) + 1)
    assert (found, packing.once("inner", lambda: 0)) == (3, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda packing: Packing.from_lengths(packing.lengths),
        lambda packing: packing.with_positions(packing.positions),
        lambda packing: pickle.loads(pickle.dumps(packing)),
        lambda packing: packing.to("meta"),
    ],
    ids=["equal", "other positions", "pickled", "other device"],
)
def test_derived_stays_with_the_layout_it_was_made_for(change) -> None:
    packing = Packing.from_lengths([2, 1])
    packing.once("key", lambda: "old")
    assert change(packing).once("key", lambda: "new") == "new"
    assert packing.once("key", lambda: "new") == "old"


def test_derived_is_kept_when_the_layout_stays_on_its_device() -> None:
    packing = Packing.from_lengths([2])
    packing.once("key", lambda: "old")
    assert packing.to("cpu").once("key", lambda: "new") == "old"


def test_layout_is_itself_when_it_stays_on_its_device() -> None:
    packing = Packing.from_lengths([2])
    assert packing.to("cpu") is packing


def test_layout_on_a_device_keeps_the_numbers_on_the_host(device: torch.device) -> None:
    packing = Packing.from_lengths([2, 3])
    moved = packing.to(device)
    assert moved.lengths == (2, 3)
    assert all(getattr(moved, name).device.type == device.type for name in TENSORS)
    assert moved.sequence_ids.device.type == device.type
    assert moved.sequence_ids.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.gpu
def test_layout_in_pinned_memory() -> None:
    packing = Packing.from_lengths([2, 3]).pin_memory()
    assert all(getattr(packing, name).is_pinned() for name in TENSORS)


@pytest.mark.parametrize("position", ["rotary", "alibi", "learned", "sinusoidal"])
def test_encoder_never_reads_a_tensor_back_when_given_a_layout(position) -> None:
    # Tensors on "meta" hold no numbers, so whatever would wait for a device fails here.
    packing = Packing.from_lengths([4, 1, 5, 0]).to("meta")
    encoder = Encoder(8, 2, 2, position=position).to("meta")
    x = torch.empty(10, 8, device="meta", requires_grad=True)
    out = encoder(x, packing.offsets, packing=packing)
    assert out.shape == (10, 8)
    assert packing.sequence_ids.shape == (10,)
    with pytest.raises(Exception, match="meta"):
        Packing.from_offsets(packing.offsets)


@pytest.mark.gpu
def test_encoder_never_waits_for_the_device_when_given_a_layout() -> None:
    packing = Packing.from_lengths([4, 1, 5]).to("cuda")
    encoder = Encoder(8, 2, 2).cuda()
    x = torch.randn(10, 8, device="cuda")
    encoder(x, packing.offsets, packing=packing)
    torch.cuda.set_sync_debug_mode("error")
    try:
        encoder(x, packing.offsets, packing=packing)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def padded_by_hand(x: Tensor, lengths: list[int]) -> Tensor:
    """The field's usual padding, as an oracle: torch's own, row by row."""
    return torch.nn.utils.rnn.pad_sequence(list(x.split(lengths)), batch_first=True)


def test_block_equals_torch_padding_when_all_share_one_group() -> None:
    lengths = [5, 4, 4]
    packing = Packing.from_lengths(lengths)
    x = torch.randn(13, 2)
    block = x[packing.padded_rows].masked_fill(packing.padding[:, None], 0.0).view(3, 5, 2)
    assert torch.equal(block, padded_by_hand(x, lengths))
