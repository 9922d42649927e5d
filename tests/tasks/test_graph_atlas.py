import networkx
import pytest

from tasks.graph_atlas import AllGraphs, GraphAtlas, properties, to_graph


def test_every_graph_with_a_node_is_there_once():
    examples = list(AllGraphs().read())
    assert len(examples) == 1252
    assert {example.source.num_nodes for example in examples} == set(range(1, 8))
    assert [example.key for example in examples[:2]] == ["G1", "G2"]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (networkx.complete_graph(5), ["connected"]),
        (networkx.complete_bipartite_graph(3, 3), ["bipartite", "connected"]),
        (networkx.cycle_graph(5), ["connected", "planar"]),
        (networkx.empty_graph(3), ["bipartite", "planar"]),
        (networkx.path_graph(4), ["bipartite", "connected", "planar"]),
    ],
)
def test_properties_are_those_of_well_known_graphs(graph, expected):
    assert properties(graph) == expected


def test_edges_go_both_ways_and_nodes_say_nothing():
    graph = to_graph(networkx.path_graph(3))
    assert graph.edge_index.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]
    assert graph.categories.tolist() == [["node"]] * 3


def test_splits_hold_every_graph_once():
    splits = [list(GraphAtlas(split).read()) for split in ("train", "val", "test")]
    assert [len(split) for split in splits] == [752, 250, 250]
    assert len({example.key for split in splits for example in split}) == 1252


def test_split_is_refused_when_there_is_none_such():
    with pytest.raises(ValueError, match="split must be train, val or test, got 'dev'"):
        GraphAtlas("dev")
