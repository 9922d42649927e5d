"""What a node's place in its graph says: degrees, Laplacian eigenvectors, random walks.

All read the edges alone, without weights and features. A function of the graph: numbering the
nodes otherwise permutes the rows, but for the freedom of eigenvectors of one eigenvalue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

DENSE_NODES = 2000
"""Up to so many nodes matrices are dense; above scipy's sparse ones are needed."""

_BLOCK = 256  # rows of a sparse power that are held at a time


def log_degrees(edge_index: Index, num_nodes: int) -> Floats:
    """Return log(1 + number of edges) that come into a node, and that leave it.

    Shape:
        edge_index (2, E), no edge twice. returns: (n, 2).
    """
    counts = [np.bincount(ends, minlength=num_nodes) for ends in edge_index[::-1]]
    return np.log1p(np.stack(counts, axis=1).astype(np.float64))


def laplacian_eigenvectors(edge_index: Index, num_nodes: int, count: int) -> Floats:
    """Return eigenvectors of the symmetric normalised Laplacian, of the smallest eigenvalues first.

    Of the graph without directions and loops, 1 - D^-1/2 A D^-1/2, each connected component by
    itself and without its trivial vector of eigenvalue 0 (Dwivedi and Bresson 2021). They are
    scaled to a mean square of 1 in their component, and signed so that their cubes sum to a
    positive number. A component of m nodes has m - 1; the columns that it lacks are 0.

    Args:
        edge_index: the edges.
        num_nodes: n.
        count: how many, k.

    Shape:
        edge_index (2, E). returns: (n, k).

    Raises:
        ModuleNotFoundError: if a component has over 2,000 nodes and scipy is missing.
    """
    found = np.zeros((num_nodes, count))
    if not count:
        return found
    pairs = _undirected(edge_index[:, edge_index[0] != edge_index[1]], num_nodes)
    components = connected_components(pairs, num_nodes)
    order = np.argsort(components, kind="stable")
    sizes = np.bincount(components)
    owners = components[pairs[0]]
    by_component = pairs[:, np.argsort(owners, kind="stable")]
    edges_before = np.concatenate([[0], np.bincount(owners, minlength=len(sizes)).cumsum()])
    nodes_before = np.concatenate([[0], sizes.cumsum()])
    places = np.empty(num_nodes, dtype=np.int64)
    places[order] = np.arange(num_nodes) - nodes_before[components[order]]
    for number in np.flatnonzero(sizes > 1):
        own = order[nodes_before[number] : nodes_before[number + 1]]
        edges = places[by_component[:, edges_before[number] : edges_before[number + 1]]]
        vectors = _component_eigenvectors(edges, len(own), min(count, len(own) - 1))
        found[own, : vectors.shape[1]] = _sign(vectors) * np.sqrt(len(own))
    return found


def random_walk_returns(edge_index: Index, num_nodes: int, steps: int) -> Floats:
    """Return the probability of being back after 1 … k steps of a random walk (Dwivedi 2022).

    The walk follows an edge in either direction, each with the same probability. A node without
    edges is never back: 0.

    Args:
        edge_index: the edges.
        num_nodes: n.
        steps: k.

    Shape:
        edge_index (2, E). returns: (n, k).

    Raises:
        ModuleNotFoundError: if there are over 2,000 nodes and scipy is missing.
    """
    found = np.zeros((num_nodes, steps))
    if not steps:
        return found
    pairs = _undirected(edge_index, num_nodes)
    # Similar matrices have the same diagonals of powers, and those of this symmetric one need
    # half the power: (S^(a + b))_ii = sum_j (S^a)_ij (S^b)_ij.
    walk = _normalised_adjacency(pairs, num_nodes)
    block = num_nodes if num_nodes <= DENSE_NODES else _BLOCK
    for start in range(0, num_nodes, max(block, 1)):
        rows = slice(start, start + block)
        power = walk[rows]  # S^step
        found[rows, 0] = _diagonal(walk, start, power)
        for step in range(1, steps // 2 + 1):
            found[rows, 2 * step - 1] = _row_products(power, power)
            if 2 * step < steps:
                following = power @ walk
                found[rows, 2 * step] = _row_products(power, following)
                power = following
    return found


def connected_components(edge_index: Index, num_nodes: int) -> Index:
    """Return the number of each node's component, counted from 0 in the order of first nodes.

    Shape:
        edge_index (2, E), directions do not count. returns: (n,).
    """
    lowest = np.arange(num_nodes)
    while True:
        lower = lowest.copy()
        for source, target in (edge_index, edge_index[::-1]):
            np.minimum.at(lower, target, lowest[source])
        lower = lower[lower]  # a node that is lower in the component has a lower one itself
        if np.array_equal(lower, lowest):
            return np.unique(lowest, return_inverse=True)[1].reshape(-1)
        lowest = lower


def _undirected(edge_index: Index, num_nodes: int) -> Index:
    """Return every edge once in each direction, sorted. Shape: (2, E')."""
    source, target = np.concatenate([edge_index, edge_index[::-1]], axis=1)
    names = np.unique(source * max(num_nodes, 1) + target)
    return np.stack([names // max(num_nodes, 1), names % max(num_nodes, 1)])


def _normalised_adjacency(pairs: Index, num_nodes: int) -> Any:
    """Return D^-1/2 A D^-1/2, dense or sparse. Shape: pairs (2, E); returns (n, n)."""
    degrees = np.bincount(pairs[0], minlength=num_nodes)
    scales = np.maximum(degrees, 1) ** -0.5
    values = scales[pairs[0]] * scales[pairs[1]]
    if num_nodes <= DENSE_NODES:
        dense = np.zeros((num_nodes, num_nodes))
        dense[pairs[0], pairs[1]] = values
        return dense
    return _sparse().csr_array((values, (pairs[0], pairs[1])), shape=(num_nodes, num_nodes))


def _diagonal(walk: Any, start: int, rows: Any) -> Floats:
    """Return the diagonal's part in a block of rows."""
    numbers = np.arange(start, start + rows.shape[0])
    return np.asarray(walk[numbers, numbers]).reshape(-1)


def _row_products(first: Any, second: Any) -> Floats:
    """Return the product of each row with the same row of another matrix, dense or sparse."""
    if isinstance(first, np.ndarray):
        products: Floats = np.einsum("ij,ij->i", first, second)
        return products
    return np.asarray(first.multiply(second).sum(axis=1)).reshape(-1)


def _component_eigenvectors(edges: Index, size: int, count: int) -> Floats:
    """Return the first non-trivial eigenvectors of one component. Shape: (m, count)."""
    adjacency = _normalised_adjacency(edges, size)
    if size <= DENSE_NODES:
        vectors: Floats = np.linalg.eigh(np.eye(size) - adjacency)[1]
        return vectors[:, 1 : 1 + count]
    return _sparse_eigenvectors(adjacency, np.bincount(edges[0], minlength=size), count)


def _sparse_eigenvectors(adjacency: Any, degrees: Index, count: int) -> Floats:
    """Return the eigenvectors of the largest eigenvalues but the first, from a fixed start.

    The first is known, the roots of the degrees, and put last, behind -1. Lanczos iteration does
    not end where eigenvalues crowd near 1; but such a graph falls apart by few cuts, and then the
    factors of its matrix are sparse.
    """
    linalg = _sparse_linalg()
    trivial = np.sqrt(degrees / degrees.sum())
    size = len(degrees)
    start = np.random.default_rng(0).standard_normal(size)
    without = linalg.LinearOperator(
        (size, size),
        matvec=lambda x: adjacency @ x.ravel() - 3 * trivial * (trivial @ x.ravel()),
        dtype=np.float64,
    )
    try:
        values, vectors = linalg.eigsh(
            without, k=count, which="LA", v0=start, tol=1e-8, maxiter=1000
        )
    except linalg.ArpackNoConvergence:
        values, vectors = linalg.eigsh(adjacency, k=count + 1, sigma=1.0 + 1e-6, v0=start)
    largest = np.argsort(-values, kind="stable")
    found: Floats = vectors[:, largest[len(values) - count :]]
    return found


def _sign(vectors: Floats) -> Floats:
    """Return vectors whose cubes sum to a positive number; where to none, the first entry does."""
    cubes = (vectors**3).sum(0)
    first = np.take_along_axis(vectors, (abs(vectors) > 1e-6).argmax(0)[None], axis=0)[0]
    decisive = np.where(abs(cubes) > 1e-9, cubes, first)
    return np.where(decisive < 0, -1.0, 1.0) * vectors


def _sparse() -> Any:
    try:
        import scipy.sparse
    except ImportError as error:
        raise _missing_scipy() from error
    return scipy.sparse


def _sparse_linalg() -> Any:
    try:
        import scipy.sparse.linalg
    except ImportError as error:
        raise _missing_scipy() from error
    return scipy.sparse.linalg


def _missing_scipy() -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"laplacian and random_walk need scipy for over {DENSE_NODES:,} nodes, and it cannot be "
        "imported: pip install 'seqattn[graph]'",
        name="scipy",
    )
