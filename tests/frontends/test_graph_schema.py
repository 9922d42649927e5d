import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from seqattn import Graph
from seqattn.frontends.graph_schema import GraphSchema
from tests.frontends.small_graphs import edges, plain, rich

EMPTY = Graph(0, edges())


def fitted(*graphs: Graph, **settings: Any) -> GraphSchema:
    schema = GraphSchema(**settings)
    schema.fit(graphs)
    return schema


def table(*rows: Any) -> np.ndarray:
    return np.array(rows, dtype=object)


def test_columns_are_those_of_the_training_graphs() -> None:
    assert fitted(EMPTY, rich(4)).columns == {
        "features": 3,
        "categories": 2,
        "edge_weight": 1,
        "edge_attr": 2,
        "edge_categories": 1,
    }
    assert not any(fitted(plain(3)).columns.values())


def test_categories_are_numbered_by_name_and_unknown_ones_are_0() -> None:
    schema = fitted(
        plain(2, categories=table(("b", 1), ("a", 1))), plain(1, categories=table(("c", 2)))
    )
    assert schema.categories == [["a", "b", "c"], ["1", "2"]]
    later = plain(3, categories=table(("c", 2), ("z", 1), ("a", 3)))
    assert schema.category_ids(later).tolist() == [[3, 2], [0, 1], [1, 0]]


@pytest.mark.parametrize("kind", [np.int64, np.int8, "U3", object])
def test_categories_are_known_by_their_names_whatever_their_type(kind: Any) -> None:
    schema = fitted(plain(2, categories=np.array([[7], [10]])))
    later = plain(3, categories=np.array([[10], [7], [7]]).astype(kind))
    assert schema.category_ids(later).tolist() == [[1], [2], [2]]


def test_columns_are_standardised_over_all_nodes_of_training() -> None:
    features = [np.array([[1.0, 5], [3, 5]]), np.array([[8.0, 5]])]
    schema = fitted(
        *(plain(len(rows), features=rows.astype(np.float32)) for rows in features),
        standardize=True,
    )
    assert schema.means.tolist() == [4, 5]
    np.testing.assert_allclose(schema.deviations, [(26 / 3) ** 0.5, 1])
    found = schema.features(plain(1, features=np.array([[4.0, 7]], dtype=np.float32)))
    assert found.tolist() == [[0, 2]]


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("standardize", [True, False])
def test_sparse_features_are_like_dense_ones(form: Any, standardize: bool) -> None:
    rows = np.array([[0, 1], [2, 0], [0, 0]], dtype=np.float32)
    schema = fitted(plain(3, features=form(rows)), standardize=standardize)
    expected = (rows - rows.mean(0)) / rows.std(0) if standardize else rows
    found = schema.features(plain(3, features=form(rows)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_edge_values_are_weight_numbers_and_a_column_for_each_category() -> None:
    graph = Graph(
        2,
        edges((0, 1), (1, 0)),
        edge_weight=np.array([0.5, 2], dtype=np.float32),
        edge_attr=np.array([[3], [4]], dtype=np.float32),
        edge_categories=table(("s", "y"), ("d", "y")),
    )
    schema = fitted(graph)
    assert schema.edge_width == 1 + 1 + 2 + 1
    assert schema.edge_values(graph).tolist() == [[0.5, 3, 0, 1, 1], [2, 4, 1, 0, 1]]
    unknown = replace(graph, edge_categories=table(("t", "y"), ("s", "n")))
    assert schema.edge_values(unknown)[:, 2:].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert schema.edge_values(EMPTY).shape == (0, 5)


@pytest.mark.parametrize("nodes", [0, 1])
def test_graph_may_lack_what_it_has_no_rows_for(nodes: int) -> None:
    schema = fitted(rich(4))
    whole = rich(1)
    lone = Graph(
        nodes, edges(), features=whole.features[:nodes], categories=whole.categories[:nodes]
    )
    schema.check(lone)
    assert schema.features(lone).shape == (nodes, 3)
    assert schema.category_ids(EMPTY).shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features": np.ones((4, 5))},
            "features must have 3 columns, as in the training graphs, got 5 columns",
        ),
        ({"features": None}, "features must have 3 columns, as in .*, got none"),
        ({"categories": np.ones((4, 1))}, "categories must have 2 columns, .*, got 1 column$"),
        ({"edge_weight": None}, "edge_weight must have 1 column, as in .*, got none"),
        ({"edge_attr": None}, "edge_attr must have 2 columns, as in .*, got none"),
        ({"edge_categories": None}, "edge_categories must have 1 column, as in .*, got none"),
    ],
)
def test_graph_is_refused_when_it_lacks_what_training_had(changes: Any, message: str) -> None:
    odd = replace(rich(4), **changes)
    with pytest.raises(ValueError, match=message):
        fitted(rich(4)).check(odd)
    with pytest.raises(ValueError, match=message):
        fitted(rich(4), odd)


@pytest.mark.parametrize("name", ["features", "categories", "edge_weight", "edge_attr"])
def test_graph_is_refused_when_it_has_what_training_had_not(name: str) -> None:
    odd = replace(plain(4), edge_index=rich(4).edge_index, **{name: getattr(rich(4), name)})
    message = f"{name} must be left out, as in the training graphs, got [123] column"
    with pytest.raises(ValueError, match=message):
        fitted(plain(4)).check(odd)


def test_fitting_needs_a_graph() -> None:
    with pytest.raises(ValueError, match="sources must hold at least one training graph, got none"):
        fitted()


def test_graphs_are_not_kept_while_fitting() -> None:
    seen: list[weakref.ref[Graph]] = []

    def graphs() -> Iterator[Graph]:
        for number in range(5):
            graph = rich(4, seed=number)
            seen.append(weakref.ref(graph))
            yield graph
            del graph
            assert sum(found() is not None for found in seen) <= 1

    GraphSchema(standardize=True).fit(graphs())
    assert len(seen) == 5


@pytest.mark.parametrize("standardize", [True, False])
def test_state_is_json_and_gives_the_same_numbers(standardize: bool) -> None:
    schema = fitted(rich(5), standardize=standardize)
    again = GraphSchema(standardize=standardize)
    again.load_state(json.loads(json.dumps(schema.state())))
    for method in ("features", "category_ids", "edge_values"):
        expected = getattr(schema, method)(rich(4, seed=1))
        assert np.array_equal(getattr(again, method)(rich(4, seed=1)), expected)
    assert again.is_fitted
    assert again.state() == schema.state()
