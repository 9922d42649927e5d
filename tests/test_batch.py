import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from seqattn import DataError, Example, Packing, SequenceBatch

OFFSETS = torch.tensor([0, 3, 5])
KEYS = ("train:202", "train:203")


def graph_batch(**changes: Any) -> SequenceBatch:
    """Two graphs of 3 and 2 nodes with every field of a batch, some of them changed."""
    fields = {
        "values": torch.arange(10.0).view(5, 2),
        "offsets": OFFSETS,
        "edge_index": torch.tensor([[0, 1, 4], [1, 2, 3]]),
        "edge_weight": torch.tensor([0.5, 1.0, 2.0]),
        "edge_attr": torch.ones(3, 2),
        "targets": torch.tensor([0, 1, 0, 1, 1]),
        "labelled": torch.tensor([True, False, True, True, False]),
        "keys": KEYS,
    }
    return SequenceBatch(**{**fields, **changes})


def tensors_of(batch: SequenceBatch) -> dict[str, Tensor]:
    """Every tensor that a batch holds, those of its packing and its target batch included."""
    found: dict[str, Tensor] = {}
    for owner in (batch, batch.packing, batch.targets, getattr(batch.targets, "packing", None)):
        if isinstance(owner, SequenceBatch | Packing):
            for name in type(owner).__annotations__:
                value = getattr(owner, name)
                if isinstance(value, Tensor):
                    found[f"{type(owner).__name__}.{id(owner)}.{name}"] = value
    return found


def test_example_when_only_its_source_is_known() -> None:
    example = Example("a text")
    assert (example.source, example.target, example.key) == ("a text", None, "")


def test_fields_are_what_was_given() -> None:
    batch = graph_batch()
    assert len(batch) == 2
    assert batch.lengths.tolist() == [3, 2]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1]
    assert batch.sequence_ids.tolist() == [0, 0, 0, 1, 1]
    assert batch.edge_index.tolist() == [[0, 1, 4], [1, 2, 3]]
    assert batch.edge_weight.tolist() == [0.5, 1.0, 2.0]
    assert batch.keys == KEYS


def test_keys_are_numbers_when_left_out() -> None:
    assert graph_batch(keys=()).keys == ("0", "1")


def test_keys_are_a_tuple_when_given_as_a_list() -> None:
    assert graph_batch(keys=list(KEYS)).keys == KEYS


def test_targets_may_be_a_batch_of_their_own() -> None:
    targets = SequenceBatch.from_list([torch.tensor([7]), torch.tensor([8, 9])], keys=KEYS)
    assert graph_batch(targets=targets).targets is targets


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2,), (2, 3)])
def test_targets_may_be_per_position_or_per_sequence(shape: tuple[int, ...]) -> None:
    assert graph_batch(targets=torch.zeros(shape)).targets.shape == shape


@pytest.mark.parametrize("values", [torch.empty(0, dtype=torch.int64), torch.empty(0, 80)])
def test_batch_when_there_is_no_sequence(values: Tensor) -> None:
    batch = SequenceBatch(values, torch.zeros(1, dtype=torch.int64))
    assert (len(batch), batch.keys, batch.packing.total) == (0, (), 0)
    assert batch.lengths.tolist() == batch.positions.tolist() == batch.sequence_ids.tolist() == []


def test_batch_from_list_when_the_list_is_empty() -> None:
    batch = SequenceBatch.from_list([], edges=[])
    assert len(batch) == 0
    assert batch.edge_index.shape == (2, 0)


def test_batch_when_sequences_are_empty() -> None:
    batch = SequenceBatch(torch.tensor([5]), torch.tensor([0, 0, 1, 1]))
    assert batch.lengths.tolist() == [0, 1, 0]
    assert batch.sequence_ids.tolist() == [1]


def test_edges_may_be_none_at_all_or_no_edge() -> None:
    none = graph_batch(edge_index=None, edge_weight=None, edge_attr=None)
    empty = torch.empty(2, 0, dtype=torch.int64)
    isolated = graph_batch(edge_index=empty, edge_weight=torch.empty(0), edge_attr=None)
    assert none.edge_index is None
    assert isolated.edge_index.shape == (2, 0)


def test_duplicate_edges_are_summed_when_the_batch_is_made() -> None:
    batch = graph_batch(
        edge_index=torch.tensor([[4, 0, 4], [3, 1, 3]]), edge_weight=torch.tensor([1.0, 2.0, 4.0])
    )
    assert batch.edge_index.tolist() == [[4, 0], [3, 1]]
    assert batch.edge_weight.tolist() == [5.0, 2.0]
    assert batch.edge_attr.tolist() == [[2.0, 2.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"values": torch.zeros(5, 1, 1)},
            r"values must have shape \(T,\) or \(T, F\), got \(5, 1, 1\)",
        ),
        (
            {"offsets": OFFSETS.int()},
            r"offsets must be int64 of shape \(B \+ 1,\), got torch.int32 \(3,\)",
        ),
        ({"offsets": OFFSETS[None]}, r"offsets must be int64 .* got torch.int64 \(1, 3\)"),
        ({"offsets": OFFSETS[:0]}, r"offsets must be int64 .* got torch.int64 \(0,\)"),
        (
            {"offsets": torch.tensor([1, 3, 5])},
            r"offsets must run from 0 to T = 5, got 1 … 5",
        ),
        ({"offsets": torch.tensor([0, 3, 4])}, r"offsets must run from 0 to T = 5, got 0 … 4"),
        (
            {"offsets": torch.tensor([0, 4, 3, 5]), "keys": ()},
            "offsets must not decrease, got a step of -1",
        ),
        ({"keys": ("a",)}, "keys must name 2 sequences, got 1"),
        (
            {"packing": Packing.from_lengths([2, 3])},
            "packing must be the layout of offsets, got one of 2 sequences with 5 positions",
        ),
        (
            {"packing": Packing.from_lengths([3])},
            "packing must be the layout of offsets, got one of 1 sequences with 3 positions",
        ),
        (
            {"labelled": torch.ones(4, dtype=torch.bool)},
            r"labelled must be bool of shape \(5,\), got torch.bool \(4,\)",
        ),
        ({"labelled": torch.ones(5)}, r"labelled must be bool of shape \(5,\), got torch.float32"),
        (
            {"edge_index": None, "edge_attr": None},
            "edge_weight and edge_attr need an edge_index, got None",
        ),
        (
            {"edge_index": torch.zeros(3, 2, dtype=torch.int64)},
            r"edge_index must be int64 of shape \(2, E\), got torch.int64 \(3, 2\)",
        ),
        (
            {"edge_index": torch.zeros(2, 3)},
            r"edge_index must be int64 of shape \(2, E\), got torch.float32 \(2, 3\)",
        ),
        (
            {"edge_index": torch.tensor([[0, 1, 4], [1, 2, 5]])},
            r"edge_index must lie in 0 … 4, got 0 … 5",
        ),
        (
            {"edge_index": torch.tensor([[0, 1, -1], [1, 2, 3]])},
            r"edge_index must lie in 0 … 4, got -1 … 3",
        ),
        (
            {"edge_weight": torch.ones(2)},
            r"edge_weight must be floats of shape \(3,\), got torch.float32 \(2,\)",
        ),
        (
            {"edge_weight": torch.ones(3, dtype=torch.int64)},
            r"edge_weight must be floats of shape \(3,\), got torch.int64 \(3,\)",
        ),
        (
            {"edge_attr": torch.ones(3)},
            r"edge_attr must be floats of shape \(3, F\), got torch.float32 \(3,\)",
        ),
        (
            {"targets": torch.zeros(4)},
            r"targets must have one row per position \(5\) or per sequence \(2\), got \(4,\)",
        ),
        ({"targets": torch.zeros(5, 2, 2)}, r"targets must have one row .* got \(5, 2, 2\)"),
        ({"targets": torch.tensor(1)}, r"targets must have one row .* got \(\)"),
        (
            {"targets": SequenceBatch.from_list([torch.tensor([1])])},
            "targets must hold 2 sequences, got 1",
        ),
    ],
)
def test_batch_is_refused_when_a_field_breaks_its_rule(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        graph_batch(**changes)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_values_are_refused_when_not_finite(number: float) -> None:
    values = torch.zeros(5, 2)
    values[4, 1] = number
    message = rf"example 'train:203': values must be finite, got \[0.0, {number}\] at position 1"
    with pytest.raises(DataError, match=message):
        graph_batch(values=values)


def test_values_are_refused_when_infinities_cancel() -> None:
    with pytest.raises(
        DataError, match="'train:202': values must be finite, got inf at position 1"
    ):
        graph_batch(values=torch.tensor([0.0, torch.inf, 0.0, -torch.inf, 0.0]))


def test_values_are_kept_when_only_their_sum_overflows() -> None:
    values = torch.full((5,), torch.finfo(torch.float32).max)
    assert torch.equal(graph_batch(values=values).values, values)


def test_edge_weight_is_refused_when_not_finite() -> None:
    weight = torch.tensor([1.0, 1.0, torch.nan])
    with pytest.raises(
        DataError, match="example 'train:203': edge_weight must be finite, got nan at edge 2"
    ):
        graph_batch(edge_weight=weight)


def test_edge_attr_is_refused_when_not_finite() -> None:
    attr = torch.tensor([[1.0, 1.0], [1.0, torch.inf], [1.0, 1.0]])
    with pytest.raises(
        DataError,
        match=r"example 'train:202': edge_attr must be finite, got \[1.0, inf\] at edge 1",
    ):
        graph_batch(edge_attr=attr)


def test_edge_is_refused_when_it_leaves_its_sequence() -> None:
    index = torch.tensor([[0, 1, 4], [1, 2, 2]])
    with pytest.raises(
        DataError, match="example 'train:203': an edge must stay in its sequence, edge 2 leaves it"
    ):
        graph_batch(edge_index=index)


def test_batch_from_list_packs_end_to_end() -> None:
    batch = SequenceBatch.from_list(
        [torch.tensor([5, 6, 7]), torch.tensor([8, 9])],
        [(torch.tensor([[0], [2]]), None), (torch.tensor([[1], [0]]), None)],
        targets=torch.tensor([1, 0]),
        keys=KEYS,
    )
    assert batch.values.tolist() == [5, 6, 7, 8, 9]
    assert torch.equal(batch.offsets, OFFSETS)
    assert batch.edge_index.tolist() == [[0, 4], [2, 3]]
    assert batch.targets.tolist() == [1, 0]


def test_batch_from_list_sums_duplicate_edges_within_each_sequence_only() -> None:
    double = (torch.tensor([[0, 0], [1, 1]]), torch.tensor([1, 2]))
    batch = SequenceBatch.from_list([torch.zeros(2), torch.zeros(2)], [double, double])
    assert batch.edge_index.tolist() == [[0, 2], [1, 3]]
    assert batch.edge_weight.tolist() == [3.0, 3.0]


def test_batch_from_list_names_the_example_of_a_wrong_edge() -> None:
    edges = [(torch.tensor([[0], [0]]), None), (torch.tensor([[0], [2]]), None)]
    with pytest.raises(DataError, match="'train:203': edge_index must name positions below"):
        SequenceBatch.from_list([torch.zeros(3), torch.zeros(2)], edges, keys=KEYS)
    with pytest.raises(DataError, match="'1': edge_index must name positions below"):
        SequenceBatch.from_list([torch.zeros(3), torch.zeros(2)], edges)


def test_batch_from_list_is_refused_when_columns_differ() -> None:
    with pytest.raises(
        ValueError,
        match=r"values must have the same columns in all sequences, got \[\(3,\), \(4,\)\]",
    ):
        SequenceBatch.from_list([torch.zeros(2, 3), torch.zeros(2, 4)])


def test_a_sequence_counts_unless_every_position_is_unlabelled() -> None:
    offsets = torch.tensor([0, 2, 4, 4, 5])
    labelled = torch.tensor([True, False, False, False, True])
    batch = SequenceBatch(torch.zeros(5), offsets, labelled=labelled)
    assert batch.labelled_sequences is not None
    assert batch.labelled_sequences.tolist() == [True, False, True, True]
    assert SequenceBatch(torch.zeros(5), offsets).labelled_sequences is None


def test_fields_cannot_be_set() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph_batch().values = torch.zeros(5)


def test_batches_are_compared_by_identity() -> None:
    batch = graph_batch()
    assert batch == batch  # noqa: PLR0124
    assert batch != graph_batch()
    assert len({batch, batch}) == 1


def test_replaced_batch_keeps_all_other_fields_and_is_not_checked() -> None:
    batch = graph_batch()
    changed = batch.replace(values=torch.full((5, 1), torch.nan))
    assert changed.values.shape == (5, 1)
    for name in SequenceBatch.__annotations__:
        if name != "values":
            assert getattr(changed, name) is getattr(batch, name)


def test_replace_is_refused_when_a_field_is_unknown() -> None:
    with pytest.raises(TypeError, match="SequenceBatch has no field 'vlaues'"):
        graph_batch().replace(vlaues=torch.zeros(5))


def test_replace_is_refused_when_offsets_come_without_packing() -> None:
    with pytest.raises(TypeError, match="other offsets must be given with their packing"):
        graph_batch().replace(offsets=torch.tensor([0, 5]))


def nested_batch() -> SequenceBatch:
    targets = SequenceBatch.from_list([torch.tensor([7]), torch.tensor([8, 9])], keys=KEYS)
    return graph_batch(targets=targets)


def test_batch_on_a_device_keeps_everything(device: torch.device) -> None:
    batch = nested_batch()
    moved = batch.to(device)
    before, after = tensors_of(batch), tensors_of(moved)
    assert [name.rpartition(".")[2] for name in before] == [n.rpartition(".")[2] for n in after]
    for old, new in zip(before.values(), after.values(), strict=True):
        assert new.device.type == device.type
        assert torch.equal(old, new.cpu())
    assert moved.keys == batch.keys
    assert moved.targets.keys == batch.targets.keys
    assert moved.packing.lengths == batch.packing.lengths


def test_batch_is_not_checked_again_when_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = nested_batch()

    def fail(self: SequenceBatch) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr(SequenceBatch, "__post_init__", fail)
    assert all(tensor.is_meta for tensor in tensors_of(batch.to("meta")).values())


@pytest.mark.gpu
def test_batch_in_pinned_memory_keeps_everything() -> None:
    batch = nested_batch()
    pinned = batch.pin_memory()
    assert all(tensor.is_pinned() for tensor in tensors_of(pinned).values())
    pairs = zip(tensors_of(batch).values(), tensors_of(pinned).values(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)
    assert pinned.keys == batch.keys


def test_batch_when_pickled() -> None:
    batch = nested_batch()
    copied = pickle.loads(pickle.dumps(batch))
    pairs = zip(tensors_of(batch).values(), tensors_of(copied).values(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)
    assert copied.keys == batch.keys
    assert copied.packing.groups == batch.packing.groups


def pack_numbers(numbers: list[int]) -> SequenceBatch:
    """Sequence i counts from 0 to i - 1; each position has an edge to itself."""
    values = [torch.arange(number) for number in numbers]
    loops = [(torch.stack([value, value]), None) for value in values]
    return SequenceBatch.from_list(values, loops, keys=[f"number {n}" for n in numbers])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_from_a_data_loader(workers: int) -> None:
    loader = DataLoader([3, 1, 0, 2], batch_size=2, num_workers=workers, collate_fn=pack_numbers)
    first, second = loader
    assert first.values.tolist() == [0, 1, 2, 0]
    assert first.edge_index.tolist() == [[0, 1, 2, 3]] * 2
    assert first.packing.lengths == (3, 1)
    assert second.keys == ("number 0", "number 2")
