from typing import Any

import networkx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from seqattn import Graph
from seqattn.frontends.graph_sources import count_nodes, from_networkx, read_graph
from tests.frontends.small_graphs import both, path, plain


class Paths:
    """A source that has as many nodes as the draw says."""

    num_nodes = 9

    def sample(self, draw: int | None) -> Graph:
        return plain(2 if draw is None else draw)


def triangle(**of_nodes: Any) -> networkx.Graph:
    graph = networkx.Graph()
    for number, name in enumerate("cab"):
        graph.add_node(name, **{key: values[number] for key, values in of_nodes.items()})
    graph.add_edge("a", "b", weight=2.0)
    graph.add_edge("b", "c", weight=3)
    return graph


@pytest.mark.parametrize(
    ("raw", "nodes"),
    [
        (plain(3), 3),
        (Data(edge_index=torch.tensor([[0], [1]]), num_nodes=4), 4),
        (networkx.path_graph(5), 5),
        (networkx.MultiDiGraph([(0, 1), (0, 1)]), 2),
        (networkx.Graph(), 0),
    ],
)
def test_every_kind_of_graph_is_read_and_counted(raw: Any, nodes: int) -> None:
    assert read_graph(raw).num_nodes == count_nodes(raw) == nodes


def test_what_is_sampled_is_read_by_its_draw() -> None:
    assert read_graph(Paths(), 7).num_nodes == 7
    assert read_graph(Paths()).num_nodes == 2
    assert count_nodes(Paths()) == 9


@pytest.mark.parametrize("raw", ["graph.gml", [1, 2], None, HeteroData()])
@pytest.mark.parametrize("function", [read_graph, count_nodes])
def test_anything_else_is_refused(raw: Any, function: Any) -> None:
    message = f"a graph must be a seqattn.Graph, .* or have sample.*, got {type(raw).__name__}"
    with pytest.raises(TypeError, match=message):
        function(raw)


def test_undirected_networkx_goes_both_ways_in_the_order_of_its_nodes() -> None:
    graph = read_graph(triangle())
    assert graph.names == ("c", "a", "b")
    assert graph.edge_index.tolist() == [[0, 1, 2, 2], [2, 2, 0, 1]]
    assert graph.edge_weight.tolist() == [3, 2, 3, 2]


def test_directed_networkx_goes_one_way_and_parallel_edges_stay() -> None:
    graph = from_networkx(networkx.MultiDiGraph([(0, 1), (0, 1), (2, 1)]))
    assert graph.edge_index.tolist() == [[0, 0, 2], [1, 1, 1]]
    assert graph.edge_weight is None


def test_loop_of_networkx_comes_once() -> None:
    assert from_networkx(networkx.Graph([(0, 0), (0, 1)])).edge_index.tolist() == [
        [0, 0, 1],
        [0, 1, 0],
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], [[1], [2], [3]]),
        ([(1, 2), np.array([3, 4]), [5, 6]], [[1, 2], [3, 4], [5, 6]]),
    ],
)
def test_attribute_x_of_networkx_is_a_number_or_a_vector(values: Any, expected: Any) -> None:
    assert read_graph(triangle(x=values)).features.tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["p", "q", "p"], [["p"], ["q"], ["p"]]), ([("p", 1)] * 3, [["p", 1]] * 3)],
)
def test_attribute_category_of_networkx_is_one_name_or_several(values: Any, expected: Any) -> None:
    assert read_graph(triangle(category=values)).categories.tolist() == expected


def test_networkx_is_refused_when_only_some_have_an_attribute() -> None:
    graph = triangle()
    graph.add_edge("c", "a")
    message = "'weight' must be given everywhere or nowhere, got none at edge 'c', 'a'"
    with pytest.raises(ValueError, match=message):
        read_graph(graph)
    graph = triangle()
    graph.nodes["b"]["x"] = 1.0
    with pytest.raises(
        ValueError, match="'x' must be given everywhere or nowhere, got none at node 'c'"
    ):
        read_graph(graph)


def test_networkx_is_refused_when_vectors_differ_in_length() -> None:
    with pytest.raises(ValueError, match="'x' must have 2 columns, got 1 at node 'b'"):
        read_graph(triangle(x=[(1, 2), (3, 4), (5,)]))


def test_named_columns_of_networkx_edges_are_read_in_both_directions() -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", length=2.0, angle=(0.5, 1), bond="single")
    graph.add_edge("b", "b", length=3, angle=(1.5, 2), bond="double")
    found = from_networkx(
        graph, edge_attr_columns=["angle", "length"], edge_category_columns=["bond"]
    )
    assert found.edge_index.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert found.edge_attr.tolist() == [[0.5, 1, 2], [1.5, 2, 3], [0.5, 1, 2]]
    assert found.edge_categories.tolist() == [["single"], ["double"], ["single"]]
    assert found.edge_weight is None
    assert read_graph(found).edge_attr.dtype == np.float32
    assert read_graph(graph).edge_attr is None


def test_networkx_without_edges_has_no_columns_of_them() -> None:
    assert from_networkx(networkx.empty_graph(2), edge_attr_columns=["length"]).edge_attr is None


def test_networkx_is_refused_when_its_edges_lack_a_named_column() -> None:
    message = "'length' must be given everywhere, got none at edge 'c', 'b'"
    with pytest.raises(ValueError, match=message):
        from_networkx(triangle(), edge_attr_columns=["weight", "length"])


@pytest.mark.parametrize("name", ["edge_attr_columns", "edge_category_columns"])
def test_one_string_is_refused_where_columns_are_listed(name: str) -> None:
    message = rf"{name} must be a list of columns, got one string: \['weight'\]"
    with pytest.raises(TypeError, match=message):
        from_networkx(triangle(), **{name: "weight"})


def test_same_graph_of_each_library_reads_alike() -> None:
    index = both((0, 1), (1, 2))
    data = Data(edge_index=torch.from_numpy(index), num_nodes=3)
    for raw in (Graph(3, index), data, networkx.path_graph(3)):
        found = {tuple(edge) for edge in read_graph(raw).edge_index.T.tolist()}
        assert found == {tuple(edge) for edge in path(3).T.tolist()}
