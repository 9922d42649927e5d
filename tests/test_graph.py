import numpy as np
import pandas
import pytest
import torch
from torch_geometric.data import Batch, Data

from seqattn import Graph
from seqattn.graph import Sampled, add_reverse, from_pyg

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


@pytest.mark.parametrize("form", [list, by_column, pandas.DataFrame])
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
            r"'kind' of nodes\[0\] must be a finite number in 32 bits, got 'x'",
        ),
        (
            NODES,
            [*EDGES, {"source": "a", "target": "c", "weight": float("nan")}],
            {"weight_column": "weight"},
            r"'weight' of edges\[3\] must be a finite number in 32 bits, got nan",
        ),
        (
            NODES,
            [{"source": "a", "target": "b", "weight": -1e39}],
            {"weight_column": "weight"},
            r"'weight' of edges\[0\] must be a finite number in 32 bits, got -1e\+39",
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


@pytest.mark.parametrize(
    "name", ["feature_columns", "category_columns", "edge_attr_columns", "edge_category_columns"]
)
def test_one_string_is_refused_where_columns_are_listed(name) -> None:
    rule = rf"{name} must be a list of columns, got one string: \['size'\]"
    with pytest.raises(TypeError, match=rule):
        Graph.from_tables(NODES, EDGES, **{name: "size"})


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


def test_floats_of_pyg_are_features() -> None:
    data = Data(
        x=torch.tensor([[0.5], [1.5]]),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        edge_weight=torch.tensor([2.0, 3.0]),
        edge_attr=torch.tensor([4.0, 5.0]),
        train_mask=torch.tensor([True, False]),
    )
    graph = from_pyg(data)
    assert graph.features.tolist() == [[0.5], [1.5]]
    assert graph.edge_weight.tolist() == [2, 3]
    assert graph.edge_attr.tolist() == [[4], [5]]
    assert graph.categories is graph.edge_categories is graph.labelled is None


def test_whole_numbers_of_pyg_are_categories() -> None:
    data = Data(
        x=torch.tensor([[6, 1], [7, 0]]),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        edge_attr=torch.tensor([1, 2]),
    )
    graph = from_pyg(data)
    assert graph.categories.tolist() == [[6, 1], [7, 0]]
    assert graph.edge_categories.tolist() == [[1], [2]]
    assert graph.features is graph.edge_attr is graph.edge_weight is None


def test_sparse_features_of_pyg_are_read() -> None:
    data = Data(x=torch.eye(2).to_sparse(), edge_index=torch.tensor([[0], [1]]))
    assert from_pyg(data).features.tolist() == [[1, 0], [0, 1]]


def test_pyg_without_edge_index_is_refused() -> None:
    with pytest.raises(ValueError, match="edge_index of a PyG Data must be given, got None"):
        from_pyg(Data(x=torch.ones(2, 1)))


@pytest.mark.parametrize("name", ["edge_weight", "weight"])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_edge_weight_of_pyg_has_two_names_and_may_be_a_column(name, shape) -> None:
    edges = torch.tensor([[0, 1], [1, 0]])
    weight = torch.tensor([0.5, 2.0], requires_grad=True).reshape(shape)
    assert from_pyg(Data(edge_index=edges, **{name: weight})).edge_weight.tolist() == [0.5, 2]


def test_pyg_without_nodes_keeps_its_columns() -> None:
    graph = from_pyg(Data(x=torch.empty(0, 3), edge_index=torch.empty(2, 0, dtype=torch.int64)))
    assert graph.num_nodes == 0
    assert graph.features.shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_pyg_that_numpy_has_not_are_read(dtype) -> None:
    data = Data(
        x=torch.tensor([[0.5], [2.0]], dtype=dtype),
        edge_index=torch.tensor([[0], [1]]),
        edge_attr=torch.tensor([[0.25]], dtype=dtype),
    )
    graph = from_pyg(data)
    assert graph.features.tolist() == [[0.5], [2.0]]
    assert graph.edge_attr.tolist() == [[0.25]]


def test_batch_of_pyg_is_refused() -> None:
    one = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]))
    batch = Batch.from_data_list([one, one, one])
    rule = r"a PyG Data must be one graph, got a batch of 3: give batch.to_data_list\(\)"
    with pytest.raises(TypeError, match=rule):
        from_pyg(batch)
    assert [from_pyg(data).num_nodes for data in batch.to_data_list()] == [2, 2, 2]
