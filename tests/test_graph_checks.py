from typing import Any

import numpy as np
import pytest
import scipy.sparse

from seqattn import Graph
from seqattn.graph_checks import check_graph, is_sparse
from tests.frontends.small_graphs import edges

INDEX = edges((0, 1), (1, 2))
NAN, INFINITE = float("nan"), float("inf")


def test_numbers_come_out_in_32_bits() -> None:
    graph = check_graph(
        Graph(
            3,
            INDEX.astype(np.int32),
            features=[[1], [2], [3]],
            edge_weight=[1, 2],
            edge_attr=np.ones((2, 1)),
        )
    )
    assert graph.edge_index.dtype == np.int64
    for table in (graph.features, graph.edge_weight, graph.edge_attr):
        assert table.dtype == np.float32


def test_arrays_of_the_right_type_are_not_copied() -> None:
    features = np.ones((3, 2), dtype=np.float32)
    graph = check_graph(Graph(3, INDEX, features=features))
    assert graph.features is features
    assert graph.edge_index is INDEX


def test_sparse_features_stay_sparse() -> None:
    graph = check_graph(Graph(3, INDEX, features=scipy.sparse.eye_array(3)))
    assert is_sparse(graph.features)
    assert graph.features.dtype == np.float32


def test_large_numbers_are_finite_though_their_sum_is_not() -> None:
    graph = check_graph(Graph(3, INDEX, edge_weight=np.full(2, 3e38)))
    assert graph.edge_weight.tolist() == np.full(2, 3e38, dtype=np.float32).tolist()


@pytest.mark.parametrize("index", [[], np.empty((2, 0))])
def test_no_edges_may_have_any_type(index: Any) -> None:
    index = np.empty((2, 0)) if len(index) == 0 else index
    assert check_graph(Graph(0, index)).edge_index.dtype == np.int64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_nodes": -1}, "num_nodes must be at least 0, got -1"),
        (
            {"edge_index": edges((0, 1), (1, 3))},
            r"edge_index must name nodes in 0 … num_nodes - 1, with num_nodes = 3, "
            r"got \[1, 3\] at edge 1",
        ),
        ({"edge_index": edges((-1, 1))}, r"got \[-1, 1\] at edge 0"),
        (
            {"edge_index": np.zeros((3, 2), dtype=np.int64)},
            r"edge_index must be whole numbers of shape \(2, E\), got int64 \(3, 2\)",
        ),
        (
            {"edge_index": np.zeros((2, 2))},
            r"whole numbers of shape \(2, E\), got float64 \(2, 2\)",
        ),
        (
            {"features": np.ones((2, 4))},
            r"features must have shape \(3, columns\), got \(2, 4\)",
        ),
        ({"features": np.ones(3)}, r"features must have shape \(3, columns\), got \(3,\)"),
        (
            {"features": np.array([["a"], ["b"], ["c"]], dtype=object)},
            "features must be numbers, got object: could not convert",
        ),
        (
            {"features": np.array([[0, 0], [0, NAN], [0, 0]])},
            "features must be finite in 32 bits, got nan at node 1, column 1",
        ),
        (
            {"features": scipy.sparse.csr_array([[0, 0], [0, 0], [0, INFINITE]])},
            "features must be finite in 32 bits, got inf at node 2",
        ),
        (
            {"features": np.ones((3, 1), dtype=np.complex64)},
            "features must be real numbers, got complex64",
        ),
        (
            {"features": scipy.sparse.csr_array(np.ones((3, 1), dtype=np.complex128))},
            "features must be real numbers, got complex128",
        ),
        ({"categories": np.ones(3)}, r"categories must have shape \(3, columns\), got \(3,\)"),
        ({"edge_weight": np.ones(3)}, r"edge_weight must have shape \(2,\), got \(3,\)"),
        (
            {"edge_weight": np.array([1, NAN])},
            "edge_weight must be finite in 32 bits, got nan at edge 1",
        ),
        (
            {"edge_weight": np.array([1e300, 1])},
            r"edge_weight must be finite in 32 bits, got 1e\+300 at edge 0",
        ),
        (
            {"edge_weight": np.array([-INFINITE, 1])},
            "edge_weight must be finite in 32 bits, got -inf at edge 0",
        ),
        ({"edge_attr": np.ones(2)}, r"edge_attr must have shape \(2, columns\), got \(2,\)"),
        (
            {"edge_attr": np.array([[0, 1], [INFINITE, 1]])},
            "edge_attr must be finite in 32 bits, got inf at edge 1, column 0",
        ),
        (
            {"edge_categories": np.ones((1, 1))},
            r"edge_categories must have shape \(2, columns\), got \(1, 1\)",
        ),
        ({"labelled": np.ones(3)}, r"labelled must be bool of shape \(3,\), got float64 \(3,\)"),
        ({"labelled": np.ones(2, dtype=bool)}, r"bool of shape \(3,\), got bool \(2,\)"),
        ({"names": ("a", "b")}, r"names must have one entry per node \(3\), got 2"),
    ],
)
def test_graph_is_refused_when_it_breaks_a_rule(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_graph(Graph(**{"num_nodes": 3, "edge_index": INDEX, **arguments}))
