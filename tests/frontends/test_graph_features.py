import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqattn.frontends import graph_features
from seqattn.frontends.graph_features import (
    connected_components,
    laplacian_eigenvectors,
    log_degrees,
    random_walk_returns,
)
from tests.frontends.small_graphs import both, cycle, edges, path

NONE = np.empty((2, 0), dtype=np.int64)


def random_edges(nodes: int, seed: int = 0) -> np.ndarray:
    """A connected graph without symmetry: a path and random edges in one direction."""
    more = np.random.default_rng(seed).integers(0, nodes, (2, 2 * nodes))
    return np.concatenate([path(nodes), more], axis=1)


def adjacency(edge_index: np.ndarray, nodes: int, *, loops: bool) -> np.ndarray:
    dense = np.zeros((nodes, nodes))
    for source, target in edge_index.T:
        if loops or source != target:
            dense[source, target] = dense[target, source] = 1
    return dense


def test_degrees_count_edges_in_and_out() -> None:
    found = log_degrees(edges((0, 1), (2, 1), (1, 1)), 4)
    np.testing.assert_allclose(np.expm1(found), [[0, 1], [3, 1], [0, 1], [0, 0]], atol=1e-12)


@pytest.mark.parametrize("nodes", [5, 3000])  # dense; sparse, with eigenvalues that crowd
def test_eigenvectors_of_a_path_are_cosines(nodes: int) -> None:
    found = laplacian_eigenvectors(path(nodes), nodes, 3)
    degrees = np.full(nodes, 2.0)
    degrees[[0, -1]] = 1
    steps = np.arange(nodes) / (nodes - 1)
    for column in range(3):
        expected = np.sqrt(degrees) * np.cos(np.pi * (column + 1) * steps)
        expected *= np.sqrt(nodes / (expected**2).sum())
        np.testing.assert_allclose(abs(found[:, column]), abs(expected), atol=1e-5)
        assert abs(found[:, column] @ expected) == pytest.approx(nodes, rel=1e-6)


def test_eigenvectors_solve_the_normalised_laplacian() -> None:
    nodes, index = 30, random_edges(30)
    dense = adjacency(index, nodes, loops=False)
    scale = np.diag(dense.sum(0) ** -0.5)
    laplacian = np.eye(nodes) - scale @ dense @ scale
    found = laplacian_eigenvectors(index, nodes, 6)
    values = np.linalg.eigvalsh(laplacian)[1:7]
    np.testing.assert_allclose(laplacian @ found, found * values, atol=1e-9)
    np.testing.assert_allclose((found**2).mean(0), np.ones(6), atol=1e-9)
    assert bool(((found**3).sum(0) > 0).all())


def test_sparse_eigenvectors_equal_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = laplacian_eigenvectors(random_edges(60), 60, 4)
    monkeypatch.setattr(graph_features, "DENSE_NODES", 10)
    np.testing.assert_allclose(laplacian_eigenvectors(random_edges(60), 60, 4), dense, atol=1e-6)


def test_eigenvectors_are_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_features, "DENSE_NODES", 10)
    first = laplacian_eigenvectors(random_edges(60), 60, 4)
    np.random.rand(5)  # noqa: NPY002 - the global state must not matter
    assert np.array_equal(first, laplacian_eigenvectors(random_edges(60), 60, 4))


def test_each_component_has_its_own_eigenvectors() -> None:
    index = np.concatenate([random_edges(6), random_edges(9, seed=1) + 6], axis=1)
    found = laplacian_eigenvectors(index, 16, 3)
    np.testing.assert_allclose(found[:6], laplacian_eigenvectors(random_edges(6), 6, 3), atol=1e-9)
    other = laplacian_eigenvectors(random_edges(9, seed=1), 9, 3)
    np.testing.assert_allclose(found[6:15], other, atol=1e-9)
    assert found[15].tolist() == [0, 0, 0]


@pytest.mark.parametrize("function", [laplacian_eigenvectors, random_walk_returns])
def test_nodes_numbered_otherwise_permute_the_rows(function) -> None:
    index, order = random_edges(20), np.random.default_rng(1).permutation(20)
    place = np.argsort(order)
    found = function(place[index], 20, 5)
    np.testing.assert_allclose(found, function(index, 20, 5)[order], atol=1e-8)


def test_eigenvectors_do_not_see_directions_loops_and_edges_that_come_twice() -> None:
    plain = laplacian_eigenvectors(path(5), 5, 3)
    odd = edges((1, 0), (1, 2), (1, 2), (3, 2), (3, 4), (4, 4))
    np.testing.assert_allclose(laplacian_eigenvectors(odd, 5, 3), plain, atol=1e-9)


@pytest.mark.parametrize(("nodes", "index"), [(0, NONE), (1, NONE), (3, NONE), (2, both((0, 1)))])
def test_columns_that_a_small_graph_lacks_are_zero(nodes: int, index: np.ndarray) -> None:
    found = laplacian_eigenvectors(index, nodes, 4)
    assert found.shape == (nodes, 4)
    assert not found[:, max(nodes - 1, 0) :].any()


def test_random_walk_on_a_cycle_is_back_after_even_steps() -> None:
    found = random_walk_returns(cycle(9), 9, 4)
    np.testing.assert_allclose(found, np.tile([0, 1 / 2, 0, 6 / 16], (9, 1)), atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("dense_nodes", [2000, 10])
def test_random_walk_is_the_diagonal_of_powers(
    steps: int, dense_nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_features, "DENSE_NODES", dense_nodes)
    monkeypatch.setattr(graph_features, "_BLOCK", 7)
    index = np.concatenate([random_edges(30), edges((4, 4))], axis=1)
    dense = adjacency(index, 32, loops=True)  # two nodes have no edge
    walk = dense / np.maximum(dense.sum(1, keepdims=True), 1)
    expected = [np.diag(np.linalg.matrix_power(walk, step + 1)) for step in range(steps)]
    found = random_walk_returns(index, 32, steps)
    np.testing.assert_allclose(found, np.array(expected).reshape(steps, 32).T, atol=1e-12)


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_random_walk_is_never_back_without_edges(nodes: int) -> None:
    assert random_walk_returns(NONE, nodes, 3).tolist() == [[0.0] * 3] * nodes


def test_components_are_numbered_by_their_first_node() -> None:
    index = edges((3, 1), (5, 3), (4, 4), (2, 0))
    assert connected_components(index, 7).tolist() == [0, 1, 0, 1, 2, 1, 3]
    assert connected_components(path(50)[:, ::-1], 50).tolist() == [0] * 50


def test_scipy_is_named_when_it_is_missing_and_needed(tmp_path: Path) -> None:
    for name in ("scipy", "networkx", "torch_geometric"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a stub')\n")
    code = """
import numpy as np
from seqattn.frontends.graph_vectorizer import GraphVectorizer
from seqattn.graph import Graph

def path(nodes):
    steps = np.arange(nodes - 1)
    return Graph(nodes, np.stack([steps, steps + 1]))

vectorizer = GraphVectorizer(laplacian=2, random_walk=2)
vectorizer.fit([path(5)])
print(tuple(vectorizer(path(5)).values.shape))
for asked in ({"laplacian": 2}, {"random_walk": 2}):
    vectorizer = GraphVectorizer(**asked)
    vectorizer.fit([path(5)])
    try:
        vectorizer(path(2001))
    except ModuleNotFoundError as error:
        print(error)
"""
    python_path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
    )
    sentence = (
        "laplacian and random_walk need scipy for over 2,000 nodes, and it cannot be imported: "
        "pip install 'seqattn[graph]'"
    )
    assert done.stdout.splitlines() == ["(5, 6)", sentence, sentence], done.stderr
