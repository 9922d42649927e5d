import pytest
import torch

from seqattn.attention.edges import EdgeList
from seqattn.packing import Packing

PACKING = Packing.from_lengths([3, 2])
INDEX = torch.tensor([[4, 1, 2], [3, 1, 0]])


def test_self_loops_are_added_at_the_end_where_there_is_none():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=True)

    pairs = list(zip(edges.target.tolist(), edges.source.tolist(), strict=True))
    assert pairs == [(3, 4), (1, 1), (0, 2), (0, 0), (2, 2), (3, 3), (4, 4)]
    assert edges.added == 4


def test_edges_when_ordered_by_target_and_by_source():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=True)

    assert edges.by_target.tolist() == [3, 2, 1, 4, 5, 0, 6]  # (target, source): (0, 0), (0, 2) …
    assert edges.by_source.tolist() == [3, 1, 2, 4, 5, 0, 6]  # (source, target): (0, 0), (1, 1) …


def test_order_when_there_are_more_positions_than_two_bytes_count():
    count = 2**16 + 2
    ring = torch.stack([torch.arange(count), (torch.arange(count) + 1) % count])
    edges = EdgeList.from_index(ring, Packing.from_lengths([count]), self_loops=False)

    assert edges.by_source.tolist() == list(range(count))
    assert edges.by_target.tolist() == [count - 1, *range(count - 1)]


def test_spread_gives_every_edge_its_weight_and_added_loops_theirs():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=True)

    one = edges.spread(torch.tensor([5.0, 6.0, 7.0]), 2, loop=1.0)
    per_head = edges.spread(torch.tensor([[5.0, 50.0], [6.0, 60.0], [7.0, 70.0]]), 2, loop=0.0)

    assert one.tolist() == [[5.0, 6.0, 7.0, 1.0, 1.0, 1.0, 1.0]] * 2
    assert per_head[1].tolist() == [50.0, 60.0, 70.0, 0.0, 0.0, 0.0, 0.0]


def test_adjacency_has_a_row_per_target_and_a_column_per_source():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=False)

    first, second = edges.adjacency  # the longer sequence first

    assert first[0, 0].int().tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert second[0, 0].int().tolist() == [[0, 1], [0, 0]]


def test_what_hides_lets_a_row_without_edges_and_padding_see_themselves():
    packing = Packing.from_lengths([5, 4])
    edges = EdgeList.from_index(torch.tensor([[1, 5], [0, 6]]), packing, self_loops=False)

    (hidden,) = edges.hiding(torch.float64)

    seen = (hidden[:, 0] == 0).nonzero().tolist()
    assert seen == [
        *([0, 0, 1], [0, 1, 1], [0, 2, 2], [0, 3, 3], [0, 4, 4]),
        *([1, 0, 0], [1, 1, 0], [1, 2, 2], [1, 3, 3], [1, 4, 4]),
    ]
    assert torch.isneginf(hidden[hidden != 0]).all()
    # Rows (b, H, L) of two heads: all but (0, ., 0) and (1, ., 1).
    blind = sorted(edges.blind_rows(2).tolist())
    assert blind == [1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_edges_are_taken_in_any_order(order):
    index = torch.tensor([[0, 1, 1], [2, 0, 2]])[:, order]
    assert len(EdgeList.from_index(index, PACKING, self_loops=False)) == 3


@pytest.mark.parametrize("index", [[[0, 1, 0], [1, 0, 1]], [[0, 0, 1], [1, 1, 0]]])
def test_duplicate_edges_are_refused(index):
    index = torch.tensor(index)
    with pytest.raises(ValueError, match="edge_index must hold every directed edge once"):
        EdgeList.from_index(index, PACKING, self_loops=True)


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (torch.tensor([[0], [1]], dtype=torch.int32), "edge_index must be int64, got torch.int32"),
        (torch.tensor([[0.0], [1.0]]), "edge_index must be int64, got torch.float32"),
        (torch.tensor([[0], [5]]), r"must name positions in 0 … 4, got 0 … 5"),
        (torch.tensor([[-1], [1]]), r"must name positions in 0 … 4, got -1 … 1"),
        (
            torch.tensor([[0, 1], [1, 3]]),
            "must join positions of one sequence, got edge 1 from 1 to 3, in sequences 0 and 1",
        ),
    ],
)
def test_edges_that_name_no_pair_of_a_sequence_are_refused(index, sentence):
    with pytest.raises(ValueError, match=sentence):
        EdgeList.from_index(index, PACKING, self_loops=False)


def test_spread_keeps_the_gradient_of_a_weight_finite_when_that_of_each_head_is():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=False)
    weight = torch.ones(3, requires_grad=True)
    most = torch.finfo(torch.float32).max

    edges.spread(weight, 2, loop=1.0).backward(torch.tensor([[most, 1.0, -most]] * 2))

    assert weight.grad.tolist() == [most, 2.0, -most]
