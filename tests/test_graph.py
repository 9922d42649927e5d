import numpy as np
import pytest

from seqattn import Graph
from seqattn.graph import Sampled, add_reverse

NODES = [
    {"id": "a", "age": 3, "kind": "x", "size": 0.5},
    {"id": "b", "age": 4, "kind": "y", "size": 1.5},
    {"id": "c", "age": 5, "kind": "x", "size": 2.5},
]
EDGES = [
    {"source": "c", "target": "a", "weight": 2.0, "length": 7, "bond": "single"},
    {"source": "a", "target": "b", "weight": 3.0, "length": 8, "bond": "double"},
    {"source": "b", "target": "b", "weight": 4.0, "length": 9, "bond": "single"},
]


def by_column(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("form", [list, by_column])
def test_tables_become_a_graph(form) -> None:
    graph = Graph.from_tables(
        form(NODES),
        form(EDGES),
        feature_columns=["size", "age"],
        category_columns=["kind"],
        weight_column="weight",
        edge_attr_columns=["length"],
        edge_category_columns=["bond"],
    )
    assert graph.num_nodes == 3
    assert graph.names == ("a", "b", "c")
    assert graph.edge_index.tolist() == [[2, 0, 1], [0, 1, 1]]
    assert graph.edge_index.dtype == np.int64
    assert graph.features.tolist() == [[0.5, 3], [1.5, 4], [2.5, 5]]
    assert graph.categories.tolist() == [["x"], ["y"], ["x"]]
    assert graph.edge_weight.tolist() == [2, 3, 4]
    assert graph.edge_attr.tolist() == [[7], [8], [9]]
    assert graph.edge_categories.tolist() == [["single"], ["double"], ["single"]]


def test_undirected_tables_get_every_edge_but_loops_in_both_directions() -> None:
    graph = Graph.from_tables(
        NODES,
        EDGES,
        weight_column="weight",
        edge_attr_columns=["length"],
        edge_category_columns=["bond"],
        directed=False,
    )
    assert graph.edge_index.tolist() == [[2, 0, 1, 0, 1], [0, 1, 1, 2, 0]]
    assert graph.edge_weight.tolist() == [2, 3, 4, 2, 3]
    assert graph.edge_attr[:, 0].tolist() == [7, 8, 9, 7, 8]
    assert graph.edge_categories[3:, 0].tolist() == ["single", "double"]


@pytest.mark.parametrize(("nodes", "count"), [([], 0), ({}, 0), (NODES[:1], 1)])
def test_tables_without_edges_give_a_graph_without_edges(nodes, count) -> None:
    graph = Graph.from_tables(nodes or {"id": []}, {"source": [], "target": []})
    assert graph.num_nodes == count
    assert graph.edge_index.shape == (2, 0)
    assert graph.features is graph.categories is graph.edge_weight is graph.edge_attr is None


def test_tables_name_their_columns_as_they_like() -> None:
    nodes, edges = [{"who": 7}, {"who": 8}], [{"from": 8, "to": 7}]
    names = {"id_column": "who", "source_column": "from", "target_column": "to"}
    assert Graph.from_tables(nodes, edges, **names).edge_index.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("nodes", "edges", "settings", "message"),
    [
        (
            [*NODES, NODES[1]],
            EDGES,
            {},
            r"'id' of nodes\[3\] must be unique, got 'b' as in nodes\[1\]",
        ),
        (
            NODES,
            [*EDGES, {"source": "a", "target": "z"}],
            {},
            r"'target' of edges\[3\] must be the id of a node, got 'z'",
        ),
        (
            NODES,
            [{"source": "a"}],
            {},
            r"edges\[0\] must have the column 'target', got \['source'\]",
        ),
        (
            by_column(NODES),
            EDGES,
            {"feature_columns": ["height"]},
            r"nodes must have the column 'height', got \['age', 'id', 'kind', 'size'\]",
        ),
        (
            NODES,
            EDGES,
            {"feature_columns": ["kind"]},
            r"'kind' of nodes\[0\] must be a finite number, got 'x'",
        ),
        (
            NODES,
            [*EDGES, {"source": "a", "target": "c", "weight": float("nan")}],
            {"weight_column": "weight"},
            r"'weight' of edges\[3\] must be a finite number, got nan",
        ),
        (
            {"id": ["a", "b"], "age": [1]},
            EDGES,
            {},
            r"the columns of nodes must be equally long, got \{'id': 2, 'age': 1\}",
        ),
    ],
)
def test_tables_are_refused_when_a_row_breaks_a_rule(nodes, edges, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Graph.from_tables(nodes, edges, **settings)


def test_reverse_is_added_to_edges_but_not_to_loops() -> None:
    index, order = add_reverse(np.array([[0, 1, 2], [1, 1, 0]]))
    assert index.tolist() == [[0, 1, 2, 1, 0], [1, 1, 0, 0, 2]]
    assert order.tolist() == [0, 1, 2, 0, 2]


def test_whatever_samples_graphs_is_a_sampled_source() -> None:
    class Halves:
        num_nodes = 2

        def sample(self, draw):
            return Graph(2, np.empty((2, 0), dtype=np.int64))

    assert isinstance(Halves(), Sampled)
    assert not isinstance(Graph(2, np.empty((2, 0), dtype=np.int64)), Sampled)
