import pytest
import torch

from seqattn.attention.edges import EdgeList
from seqattn.packing import Packing

PACKING = Packing.from_lengths([3, 2])
INDEX = torch.tensor([[4, 1, 2], [3, 1, 0]])


def test_self_loops_are_added_where_there_is_none_and_edges_are_sorted_by_target():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=True)

    pairs = list(zip(edges.target.tolist(), edges.source.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 2), (1, 1), (2, 2), (3, 3), (3, 4), (4, 4)]
    assert edges.added == 4


def test_spread_gives_every_edge_its_weight_and_added_loops_theirs():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=True)

    one = edges.spread(torch.tensor([5.0, 6.0, 7.0]), 2, loop=1.0)
    per_head = edges.spread(torch.tensor([[5.0, 50.0], [6.0, 60.0], [7.0, 70.0]]), 2, loop=0.0)

    assert one.tolist() == [[1.0, 7.0, 6.0, 1.0, 1.0, 5.0, 1.0]] * 2
    assert per_head[1].tolist() == [0.0, 70.0, 60.0, 0.0, 0.0, 50.0, 0.0]


def test_adjacency_has_a_row_per_target_and_a_column_per_source():
    edges = EdgeList.from_index(INDEX, PACKING, self_loops=False)

    first, second = edges.adjacency  # the longer sequence first

    assert first[0, 0].int().tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert second[0, 0].int().tolist() == [[0, 1], [0, 0]]


def test_duplicate_edges_are_refused():
    index = torch.tensor([[0, 1, 0], [1, 0, 1]])
    with pytest.raises(ValueError, match="edge_index must hold every directed edge once"):
        EdgeList.from_index(index, PACKING, self_loops=True)
