import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqattn.edges import join_edge_values, join_edges, merge_duplicate_edges
from seqattn.errors import DataError

KEYS = ("train:0", "train:1")
CHAIN = torch.tensor([[0, 1], [1, 2]])
LOOP = torch.tensor([[0], [0]])
NO_EDGE = torch.empty(2, 0, dtype=torch.int64)


def test_indices_are_shifted_when_joined() -> None:
    index, weight = join_edges([(CHAIN, None), (LOOP, None)], [3, 1], KEYS)
    assert index.tolist() == [[0, 1, 3], [1, 2, 3]]
    assert weight is None


def test_joined_edges_when_sequences_are_empty_between() -> None:
    index, _ = join_edges([(CHAIN, None), (NO_EDGE, None), (LOOP, None)], [3, 0, 2], [*KEYS, "c"])
    assert index.tolist() == [[0, 1, 3], [1, 2, 3]]


def test_joined_edges_when_there_is_no_sequence() -> None:
    index, weight = join_edges([], [], [])
    assert (index.shape, index.dtype, weight) == ((2, 0), torch.int64, None)


def test_weights_may_be_left_out_where_there_is_no_edge() -> None:
    weights = torch.tensor([0.5, 2.0])
    _, weight = join_edges([(CHAIN, weights), (NO_EDGE, None)], [3, 1], KEYS)
    assert torch.equal(weight, weights)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_weights_become_floats_when_whole_numbers(dtype: torch.dtype) -> None:
    _, weight = join_edges([(CHAIN, torch.ones(2, dtype=dtype))], [3], KEYS[:1])
    assert weight.dtype == torch.get_default_dtype()
    assert weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_keep_their_precision_when_floats(dtype: torch.dtype) -> None:
    _, weight = join_edges([(CHAIN, torch.ones(2, dtype=dtype))], [3], KEYS[:1])
    assert weight.dtype == dtype


@pytest.mark.parametrize("edge", [[0, 3], [-1, 0], [3, 3]])
def test_edge_is_refused_when_outside_its_own_sequence(edge: list[int]) -> None:
    outside = torch.tensor([edge]).T
    message = r"example 'train:1': edge_index must name positions below the length, 3, got the edge"
    with pytest.raises(DataError, match=message):
        join_edges([(LOOP, None), (outside, None)], [9, 3], KEYS)


def test_edge_is_refused_when_its_sequence_is_empty() -> None:
    with pytest.raises(DataError, match=r"'train:0': .* length, 0, got the edge \[0, 0\]"):
        join_edges([(LOOP, None), (LOOP, None)], [0, 3], KEYS)


@pytest.mark.parametrize(
    "index", [CHAIN.T.reshape(4), torch.zeros(3, 2, dtype=torch.int64), CHAIN.int(), CHAIN.float()]
)
def test_index_is_refused_when_no_pair_of_rows(index: Tensor) -> None:
    with pytest.raises(DataError, match=r"'train:1': edge_index must be int64 of shape \(2, E\)"):
        join_edges([(LOOP, None), (index, None)], [3, 3], KEYS)


def test_edges_are_refused_when_not_one_entry_per_sequence() -> None:
    with pytest.raises(ValueError, match=r"edges must have one entry per sequence \(2\), got 1"):
        join_edges([(LOOP, None)], [3, 3], KEYS)


def test_weights_are_refused_when_only_some_sequences_have_them() -> None:
    message = "'train:1': edge_weight must be given for all sequences of a batch or for none"
    with pytest.raises(DataError, match=message):
        join_edges([(CHAIN, torch.ones(2)), (LOOP, None)], [3, 3], KEYS)


def test_weights_are_refused_when_their_number_is_right_only_in_total() -> None:
    message = r"'train:0': edge_weight must have shape \(2,\), got \(1,\)"
    with pytest.raises(DataError, match=message):
        join_edges([(CHAIN, torch.ones(1)), (LOOP, torch.ones(2))], [3, 3], KEYS)


def test_columns_are_joined_by_rows() -> None:
    joined = join_edge_values(
        "edge_attr", [torch.ones(2, 3), torch.zeros(1, 3)], [CHAIN, LOOP], KEYS
    )
    assert joined.tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]


def test_columns_are_refused_when_only_some_sequences_have_them() -> None:
    with pytest.raises(DataError, match="'train:0': edge_attr must be given for all sequences"):
        join_edge_values("edge_attr", [None, torch.zeros(1, 3)], [CHAIN, LOOP], KEYS)


def test_columns_are_refused_when_their_number_differs_between_sequences() -> None:
    with pytest.raises(
        DataError, match=r"'train:1': edge_attr must have shape \(1, 3\), got \(1, 2\)"
    ):
        join_edge_values("edge_attr", [torch.ones(2, 3), torch.zeros(1, 2)], [CHAIN, LOOP], KEYS)


def test_duplicate_edges_become_one_with_the_sum_of_their_values() -> None:
    index = torch.tensor([[2, 0, 2, 1, 2], [0, 1, 0, 1, 0]])
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    attr = torch.stack([weight, -weight], dim=1)
    merged, summed, columns = merge_duplicate_edges(index, weight, attr)
    assert merged.tolist() == [[2, 0, 1], [0, 1, 1]]
    assert summed.tolist() == [21.0, 2.0, 8.0]
    assert columns.tolist() == [[21.0, -21.0], [2.0, -2.0], [8.0, -8.0]]


def test_duplicate_edges_are_dropped_when_nothing_weighs_them() -> None:
    index = torch.tensor([[0, 0, 1], [1, 1, 0]])
    merged, weight, attr = merge_duplicate_edges(index)
    assert merged.tolist() == [[0, 1], [1, 0]]
    assert (weight, attr) == (None, None)


def test_opposite_edges_stay_two_when_merged() -> None:
    index = torch.tensor([[0, 1], [1, 0]])
    assert merge_duplicate_edges(index, torch.ones(2))[0] is index


def test_duplicates_whose_sum_overflows_are_named() -> None:
    index = torch.tensor([[0, 2, 2], [1, 3, 3]])
    with pytest.raises(ValueError, match="must be finite, got inf for the edge from node 2 to no"):
        merge_duplicate_edges(index, torch.tensor([3e38, 3e38, 3e38]))
    with pytest.raises(ValueError, match=r"got \[inf, 2\.0\] for the edge from node 2 to node 3"):
        merge_duplicate_edges(index, None, torch.tensor([[1.0, 1.0], [3e38, 1.0], [3e38, 1.0]]))


def test_edges_stay_as_they_are_when_none_is_double() -> None:
    index, weight = torch.tensor([[3, 0, 1], [1, 2, 0]]), torch.rand(3)
    merged, summed, _ = merge_duplicate_edges(index, weight)
    assert merged is index
    assert summed is weight


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-9, 9)), max_size=12))
def test_merged_edges_equal_a_slow_sum(edges: list[tuple[int, int, int]]) -> None:
    index = torch.tensor([edge[:2] for edge in edges], dtype=torch.int64).reshape(-1, 2).T
    weight = torch.tensor([edge[2] for edge in edges], dtype=torch.float64)
    expected: dict[tuple[int, int], float] = {}
    for source, target, number in edges:
        expected[source, target] = expected.get((source, target), 0.0) + number
    merged, summed, _ = merge_duplicate_edges(index, weight)
    assert dict(zip(map(tuple, merged.T.tolist()), summed.tolist(), strict=True)) == expected
    assert list(map(tuple, merged.T.tolist())) == list(expected)  # in the order they first came


def test_gradient_reaches_every_duplicate() -> None:
    weight = torch.ones(3, requires_grad=True)
    _, summed, _ = merge_duplicate_edges(torch.tensor([[0, 0, 1], [1, 1, 0]]), weight)
    (summed * torch.tensor([2.0, 3.0])).sum().backward()
    assert weight.grad.tolist() == [2.0, 2.0, 3.0]
