import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from seqattn import Graph
from seqattn.data.neighbors import (
    ALL,
    InEdges,
    Neighborhood,
    choose_distinct,
    require_fanouts,
)


def random_graph(nodes=30, edges=90, seed=0):
    rng = np.random.default_rng(seed)
    return Graph(
        nodes,
        rng.integers(0, nodes, (2, edges)),
        features=np.arange(nodes, dtype=np.float32)[:, None],
        categories=np.arange(nodes)[:, None],
        edge_weight=np.arange(edges, dtype=np.float32),
        edge_attr=np.arange(edges, dtype=np.float32)[:, None],
        edge_categories=np.arange(edges)[:, None],
        names=tuple(f"n{node}" for node in range(nodes)),
    )


def neighborhood(graph, seeds, fanouts, seed=0):
    return Neighborhood(graph, InEdges.of(graph), np.array(seeds), tuple(fanouts), seed)


@given(
    totals=st.lists(st.integers(3, 9), min_size=1, max_size=20),
    count=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_chosen_numbers_are_different_and_below_the_total(totals, count, seed):
    chosen = choose_distinct(np.array(totals), count, np.random.default_rng(seed))
    for row, total in zip(chosen.tolist(), totals, strict=True):
        assert len(set(row)) == count
        assert set(row) <= set(range(total))


def test_every_set_is_equally_likely_when_numbers_are_chosen():
    rows = choose_distinct(np.full(12000, 4), 2, np.random.default_rng(0))
    counts = Counter(frozenset(row) for row in rows.tolist())
    assert len(counts) == 6
    assert all(abs(count - 2000) < 200 for count in counts.values())  # about five deviations


def test_all_edges_into_a_node_are_taken_when_the_fanout_is_unlimited():
    graph = random_graph()
    targets = np.array([4, 0, 7])
    edges = InEdges.of(graph).take(targets, ALL, np.random.default_rng(0))
    expected = [e for t in targets for e in np.flatnonzero(graph.edge_index[1] == t)]
    assert edges.tolist() == expected


@pytest.mark.parametrize("fanout", [1, 2, 50])
def test_no_more_edges_than_the_fanout_are_taken_when_it_is_limited(fanout):
    graph = random_graph()
    targets = np.arange(30)
    edges = InEdges.of(graph).take(targets, fanout, np.random.default_rng(0))
    degrees = np.bincount(graph.edge_index[1], minlength=30)
    taken = np.bincount(graph.edge_index[1, edges], minlength=30)
    assert taken.tolist() == np.minimum(degrees, fanout).tolist()
    assert len(set(edges.tolist())) == len(edges)


def test_sample_keeps_values_with_their_nodes_and_edges_when_it_renumbers():
    graph = random_graph()
    sample = neighborhood(graph, [5, 2], [3, 2]).sample(1)
    nodes = sample.categories[:, 0]
    assert nodes[:2].tolist() == [5, 2]
    assert sample.features[:, 0].tolist() == nodes.tolist()
    assert sample.names == tuple(f"n{node}" for node in nodes)
    assert len(set(nodes.tolist())) == sample.num_nodes == len(nodes)
    edges = sample.edge_categories[:, 0]
    assert nodes[sample.edge_index].tolist() == graph.edge_index[:, edges].tolist()
    assert sample.edge_weight.tolist() == edges.tolist() == sample.edge_attr[:, 0].tolist()


def test_seeds_alone_are_labelled_when_sampled():
    sample = neighborhood(random_graph(), [5, 2, 9], [4]).sample(1)
    assert np.flatnonzero(sample.labelled).tolist() == [0, 1, 2]
    assert sample.num_nodes > 3


def test_sample_is_all_that_reaches_the_seed_when_fanouts_are_unlimited():
    chain = Graph(5, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]))  # 0 → 1 → 2 → 3 → 4
    sample = neighborhood(chain, [3], [ALL, ALL]).sample(None)
    assert sample.num_nodes == 3
    assert sample.edge_index.tolist() == [[1, 2], [0, 1]]  # 2 → 3 and 1 → 2


def test_draws_differ_and_evaluation_does_not_when_sampled_again():
    source = neighborhood(random_graph(edges=400), [5, 2, 9], [2, 2])
    names = [source.sample(draw).names for draw in (1, 1, 2, None, None)]
    assert names[0] == names[1] != names[2]
    assert names[3] == names[4]


@given(fanouts=st.lists(st.sampled_from([1, 2, 3, ALL]), min_size=1, max_size=3))
def test_length_bounds_every_sample_when_fanouts_are_limited(fanouts):
    source = neighborhood(random_graph(), [1, 2], fanouts)
    assert source.sample(0).num_nodes <= source.num_nodes <= 30


def test_length_counts_hop_by_hop_when_the_graph_is_large():
    assert neighborhood(random_graph(nodes=500), [1, 2], [3, 2]).num_nodes == 2 + 6 + 12


def test_isolated_seed_is_alone_when_sampled():
    sample = neighborhood(Graph(3, np.empty((2, 0), np.int64)), [1], [5, 5]).sample(0)
    assert sample.num_nodes == 1
    assert sample.edge_index.shape == (2, 0)


def test_sparse_features_are_cut_by_rows_when_sampled():
    graph = Graph(3, np.array([[0], [2]]), features=csr_matrix(np.eye(3)))
    sample = neighborhood(graph, [2], [ALL]).sample(0)
    assert sample.features.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_graph_is_pickled_once_when_its_neighborhoods_are_together():
    graph = random_graph(nodes=2000, edges=5000)
    one, two = neighborhood(graph, [1], [2]), neighborhood(graph, [2], [2])
    two = Neighborhood(graph, one.in_edges, two.seeds, two.fanouts, 0)
    assert len(pickle.dumps([one, two])) < 1.01 * len(pickle.dumps([one]))


def test_edges_are_refused_when_they_leave_the_graph():
    with pytest.raises(ValueError, match=r"edge_index must lie in 0 … 1, got 0 … 2"):
        InEdges.of(Graph(2, np.array([[0], [2]])))


@pytest.mark.parametrize("fanouts", [[], [0], [3, -2]])
def test_fanouts_are_refused_when_none_or_out_of_range(fanouts):
    with pytest.raises(ValueError, match="fanouts must hold a number from 1, or -1 for all"):
        require_fanouts(fanouts)
