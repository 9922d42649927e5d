import numpy as np
import pytest

from seqattn import DataError, Example, Graph
from seqattn.data import Diffused, Reader
from seqattn.recorded import build

PATH = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])


class Given(Reader):
    """A reader of one graph with these edges and weights."""

    def __init__(self, edges, nodes, weights=None):
        self.edges = edges
        self.nodes = nodes
        self.weights = weights

    def read(self):
        weights = None if self.weights is None else np.array(self.weights, dtype=np.float32)
        index = np.array(self.edges, dtype=np.int64).reshape(2, -1)
        yield Example(Graph(self.nodes, index, edge_weight=weights), ["a"] * self.nodes, "g")


def given(edges=PATH, nodes=3, weights=None):
    return Given(np.asarray(edges).tolist(), nodes, weights)


def dense(reader):
    """Return the weights of the diffused graph as a matrix, a row per target."""
    (example,) = reader.read()
    graph = example.source
    found = np.zeros((graph.num_nodes, graph.num_nodes))
    found[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight
    return found


def expected(adjacency, restart):
    """Return the closed form of the paper."""
    loops = adjacency + np.eye(len(adjacency))
    scale = loops.sum(1) ** -0.5
    walk = scale[:, None] * loops * scale
    return restart * np.linalg.inv(np.eye(len(walk)) - (1 - restart) * walk)


@pytest.mark.parametrize("restart", [0.1, 0.5])
def test_weights_are_pageranks_when_all_neighbors_are_kept(restart):
    adjacency = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    found = dense(Diffused(given(), restart, 3))
    np.testing.assert_allclose(found, expected(adjacency, restart), atol=2e-3)


def test_weights_of_edges_count_when_given():
    adjacency = np.array([[0, 5, 0], [5, 0, 1], [0, 1, 0]])
    found = dense(Diffused(given(weights=[5, 5, 1, 1]), 0.2, 3))
    np.testing.assert_allclose(found, expected(adjacency, 0.2), atol=2e-3)


def test_direction_does_not_count():
    both, one = dense(Diffused(given(), 0.2, 3)), dense(Diffused(given(PATH[:, [0, 2]]), 0.2, 3))
    np.testing.assert_allclose(both, one)


def test_heaviest_edges_are_kept_when_there_are_more():
    all_of_them = dense(Diffused(given(), 0.2, 3))
    found = dense(Diffused(given(), 0.2, 2))
    for row, kept in zip(all_of_them, found, strict=True):
        assert np.count_nonzero(kept) == 2
        assert sorted(kept)[1:] == sorted(row)[1:]


def test_parts_of_a_graph_stay_apart_and_a_lone_node_reads_itself():
    found = dense(Diffused(given(nodes=4), 0.2, 4))
    assert found[3].tolist() == pytest.approx([0, 0, 0, 1], abs=2e-3)
    assert not found[:3, 3].any()


def test_graph_of_many_blocks_is_the_same_as_one_of_few():
    nodes = 600  # more than are followed at a time
    ring = np.stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
    found = dense(Diffused(given(ring, nodes), 0.5, 5))
    for node in range(nodes):
        np.testing.assert_allclose(np.roll(found[node], -node), found[0], atol=1e-6)


def test_columns_of_edges_are_dropped_and_the_target_stays():
    (example,) = Diffused(given(), 0.2, 3).read()
    assert example.target == ["a"] * 3
    assert example.source.edge_attr is None
    assert example.source.edge_categories is None


def test_empty_graph_stays_empty():
    (example,) = Diffused(given([[], []], 0), 0.2).read()
    assert example.source.edge_index.shape == (2, 0)


def test_weight_is_refused_when_it_is_negative():
    with pytest.raises(
        DataError, match="'g': edge_weight must not be negative, got -1.0 at edge 2"
    ):
        list(Diffused(given(weights=[1, 1, -1, 1])).read())


@pytest.mark.parametrize(
    ("edges", "weights", "rule"),
    [
        (PATH, [1, 1, np.nan, 1], "'g': edge_weight must be finite in 32 bits, got nan at edge 2"),
        ([[0], [5]], None, r"'g': edge_index must name nodes in .*, got \[0, 5\] at edge 0"),
        (PATH, [1, 1], r"'g': edge_weight must have shape \(4,\), got \(2,\)"),
    ],
)
def test_graph_is_refused_when_it_breaks_a_rule(edges, weights, rule):
    with pytest.raises(DataError, match=rule):
        list(Diffused(given(edges, weights=weights)).read())


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0.0,), "restart must lie between 0 and 1, got 0.0"),
        ((1.0,), "restart must lie between 0 and 1, got 1.0"),
        ((0.2, 0), "neighbors must be at least 1, got 0"),
    ],
)
def test_arguments_are_refused_when_out_of_range(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        Diffused(given(), *arguments)


def test_reader_is_made_again_when_its_spec_is_built():
    reader = Diffused(given(), 0.3, 7)
    assert build(reader.spec).spec == reader.spec
