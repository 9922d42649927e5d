import pytest
import torch
import torch.nn.functional as F

from seqattn import SequenceBatch
from seqattn.frontends.graph_layers import CategoryEmbedding, EdgeScores, add_virtual_nodes


def batch(**fields: object) -> SequenceBatch:
    """A graph of two nodes, one without nodes, one of one node with a loop."""
    return SequenceBatch(
        torch.arange(6.0).view(3, 2),
        torch.tensor([0, 2, 2, 3]),
        edge_index=torch.tensor([[0, 2], [1, 2]]),
        **fields,
    )


def test_categories_are_summed_and_unknown_ones_add_nothing() -> None:
    layer = CategoryEmbedding([2, 3], 4)
    rows = layer.table.weight
    assert rows.shape == (3 + 4, 4)
    found = layer(torch.tensor([[1.0, 3], [2, 0], [0, 0]]))
    torch.testing.assert_close(found, torch.stack([rows[1] + rows[6], rows[2], torch.zeros(4)]))


def test_unknown_categories_learn_nothing_where_there_are_none() -> None:
    layer = CategoryEmbedding([2], 4)
    layer(torch.tensor([[1], [2]])).sum().backward()
    assert layer.table.weight.grad[0].tolist() == [0] * 4


def test_edge_scores_are_a_projection_that_may_be_positive() -> None:
    columns = torch.randn(5, 3)
    free, positive = EdgeScores(3, 2, positive=False), EdgeScores(3, 2, positive=True)
    positive.load_state_dict(free.state_dict())
    expected = columns @ free.project.weight.T + free.project.bias
    torch.testing.assert_close(free(columns), expected)
    torch.testing.assert_close(positive(columns), F.softplus(expected))
    assert free(columns[:0]).shape == (0, 2)


def test_virtual_node_is_last_and_joined_to_all_both_ways() -> None:
    vector = torch.tensor([-1.0, -2])
    found = add_virtual_nodes(batch(), vector)
    assert found.offsets.tolist() == [0, 3, 4, 6]
    assert found.packing.lengths == (3, 1, 2)
    assert found.values.tolist() == [[0, 1], [2, 3], [-1, -2], [-1, -2], [4, 5], [-1, -2]]
    edges = {tuple(edge) for edge in found.edge_index.T.tolist()}
    assert edges == {(0, 1), (4, 4), (0, 2), (1, 2), (4, 5), (2, 0), (2, 1), (5, 4)}
    assert found.edge_index.shape == (2, 8)
    assert found.edge_weight is found.labelled is None


@pytest.mark.parametrize("heads", [(), (3,)])
def test_edges_of_a_virtual_node_weigh_one(heads: tuple[int, ...]) -> None:
    weight = torch.full((2, *heads), 7.0)
    found = add_virtual_nodes(batch().replace(edge_weight=weight), torch.zeros(2))
    torch.testing.assert_close(found.edge_weight, torch.cat([weight, torch.ones(6, *heads)]))


def test_virtual_node_has_no_label() -> None:
    labelled = torch.tensor([True, False, True])
    found = add_virtual_nodes(batch(labelled=labelled), torch.zeros(2))
    assert found.labelled.tolist() == [True, False, False, False, True, False]


def test_targets_of_sequences_stay_when_a_virtual_node_comes() -> None:
    for targets in (torch.tensor([4, 5, 6]), torch.ones(3, 2)):
        found = add_virtual_nodes(batch(targets=targets), torch.zeros(2))
        assert torch.equal(found.targets, targets)


def test_virtual_node_is_refused_with_targets_of_nodes() -> None:
    two = SequenceBatch(torch.zeros(3, 2), torch.tensor([0, 3]), targets=torch.tensor([0, 1, 0]))
    message = "virtual_node=True needs a head with one output per sequence, got a target per node"
    with pytest.raises(ValueError, match=message):
        add_virtual_nodes(two, torch.zeros(2))


def test_virtual_node_leaves_an_empty_batch_empty() -> None:
    found = add_virtual_nodes(SequenceBatch(torch.empty(0, 2), torch.tensor([0])), torch.ones(2))
    assert found.values.shape == (0, 2)
    assert found.edge_index is None


def test_virtual_node_takes_and_gives_gradients() -> None:
    vector = torch.zeros(2, requires_grad=True)
    values = torch.ones(3, 2, requires_grad=True)
    add_virtual_nodes(batch().replace(values=values), vector).values.sum().backward()
    assert vector.grad.tolist() == [3, 3]
    assert values.grad.tolist() == [[1, 1]] * 3


def test_virtual_node_reads_nothing_back_from_the_device() -> None:
    assert add_virtual_nodes(batch().to("meta"), torch.zeros(2, device="meta")).values.is_meta
