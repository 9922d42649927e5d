import json
import pickle
import warnings
import weakref
from dataclasses import replace
from typing import Any, ClassVar

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch

from seqattn import DataError, Example, Graph
from seqattn.collate import Collator
from seqattn.frontends import graph_vectorizer
from seqattn.frontends.graph_features import (
    laplacian_eigenvectors,
    log_degrees,
    random_walk_returns,
)
from seqattn.frontends.graph_vectorizer import GraphVectorizer
from tests.frontends.small_graphs import both, edges, path, plain, renumber, rich


def fitted(*graphs: Any, **settings: Any) -> GraphVectorizer:
    vectorizer = GraphVectorizer(**settings)
    vectorizer.fit(graphs or [rich(5)])
    return vectorizer


def tailed(nodes: int) -> Graph:
    """A path with a triangle at its end: its eigenvectors have no freedom."""
    return Graph(nodes, np.concatenate([path(nodes), both((0, 2))], axis=1))


def test_columns_are_features_place_and_categories() -> None:
    graph = rich(5)
    vectorizer = fitted(graph, degree=True, laplacian=2, random_walk=3)
    assert vectorizer.widths == (3, 7, 2)
    values = vectorizer(graph).values.numpy()
    index = np.unique(graph.edge_index, axis=1)
    expected = [
        graph.features,
        log_degrees(index, 5),
        random_walk_returns(index, 5, 3),
        laplacian_eigenvectors(index, 5, 2),
        vectorizer.schema.category_ids(graph),
    ]
    np.testing.assert_allclose(values, np.concatenate(expected, axis=1), atol=1e-6)
    assert values.dtype == np.float32
    assert vectorizer.empty().shape == (0, 12)


def test_size_is_a_column_of_its_own_that_every_node_has() -> None:
    vectorizer = fitted(plain(3), degree=False, size=True)
    assert vectorizer.widths == (0, 1, 0)
    np.testing.assert_allclose(vectorizer(plain(7)).values, np.full((7, 1), np.log(8)), rtol=1e-6)


@pytest.mark.parametrize(
    ("graph", "degree", "has_degree"),
    [
        (plain(3), None, True),
        (rich(3), None, False),
        (rich(3), True, True),
        (plain(3, features=np.ones((3, 1))), None, False),
        (plain(3, categories=np.ones((3, 1))), None, False),
    ],
)
def test_degrees_stand_in_for_nodes_without_anything(
    graph: Graph, degree: bool | None, has_degree: bool
) -> None:
    assert fitted(graph, degree=degree).has_degree == has_degree


def test_nodes_without_any_column_are_refused() -> None:
    message = "degree must not be False where nodes have neither features nor categories"
    with pytest.raises(ValueError, match=message):
        fitted(plain(3), degree=False)
    assert fitted(plain(3), degree=False, random_walk=1).widths == (0, 1, 0)


def test_rows_are_divided_by_the_sum_of_their_absolute_values() -> None:
    features = np.array([[1, -3], [0, 0], [5, 0]])
    for form in (np.asarray, scipy.sparse.csr_array):
        graph = plain(3, features=form(features))
        found = fitted(graph, normalize="rows")(graph).values.tolist()
        assert found == [[0.25, -0.75], [0, 0], [1, 0]]


def test_columns_are_standardised_by_the_training_graphs() -> None:
    training = plain(2, features=np.array([[1], [5]]))
    later = plain(1, features=np.array([[9]]))
    assert fitted(training, normalize="columns")(later).values.tolist() == [[3]]


def test_edge_weight_is_that_of_the_graph() -> None:
    graph = Graph(2, edges((0, 1), (1, 0)), edge_weight=np.array([0.5, 2]))
    found = fitted(graph)(graph)
    assert found.edge_index.tolist() == [[0, 1], [1, 0]]
    assert found.edge_weight.tolist() == [0.5, 2]
    assert found.edge_attr is None


def test_edge_weight_is_a_column_when_it_is_named() -> None:
    graph = Graph(2, edges((0, 1), (1, 0)), edge_attr=np.array([[1, 2], [3, 4]]))
    found = fitted(graph, edge_weight_column=1)(graph)
    assert found.edge_weight.tolist() == [2, 4]
    assert found.edge_attr is None
    with pytest.raises(
        ValueError, match="edge_weight_column must be a column of edge_attr, .* have 2, got 2"
    ):
        fitted(graph, edge_weight_column=2)


def test_all_columns_of_edges_are_kept_when_asked_for() -> None:
    graph = rich(5)
    vectorizer = fitted(graph, keep_edge_columns=True)
    assert vectorizer(graph).edge_attr.shape[1] == vectorizer.schema.edge_width == 1 + 2 + 2
    assert vectorizer(graph).edge_weight is None
    message = "edge_heads needs training graphs with edge_weight, edge_attr or edge_categories"
    with pytest.raises(ValueError, match=message):
        fitted(plain(3), keep_edge_columns=True)


def test_edges_that_come_twice_are_summed_once() -> None:
    graph = Graph(
        3,
        edges((0, 1), (2, 2), (0, 1)),
        edge_weight=np.array([1, 5, 2]),
        edge_categories=np.array([["s"], ["s"], ["d"]]),
    )
    found = fitted(graph)(graph)
    assert found.edge_index.tolist() == [[0, 2], [1, 2]]
    assert found.edge_weight.tolist() == [3, 5]
    assert found.values.tolist() == fitted(graph)(graph).values.tolist()
    np.testing.assert_allclose(torch.expm1(found.values), [[0, 1], [1, 0], [1, 1]], atol=1e-6)
    columns = fitted(graph, keep_edge_columns=True)(graph).edge_attr
    assert columns.tolist() == [[3, 1, 1], [5, 0, 1]]


def test_labelled_is_handed_on() -> None:
    labelled = np.array([True, False, True])
    labelled.flags.writeable = False
    graph = plain(3, labelled=labelled)
    assert fitted(graph)(graph).labelled.tolist() == [True, False, True]
    assert fitted(plain(3))(plain(3)).labelled is None


def test_source_is_left_as_it_is() -> None:
    graph = rich(5)
    before = pickle.dumps(graph)
    for settings in ({"normalize": "rows"}, {"normalize": "columns"}, {"keep_edge_columns": True}):
        found = fitted(graph, **settings)(graph)
        assert found.values.data_ptr() != graph.features.ctypes.data
    assert pickle.dumps(graph) == before


@pytest.mark.parametrize("settings", [{}, {"laplacian": 3, "random_walk": 4, "degree": True}])
def test_nodes_numbered_otherwise_permute_the_rows(settings: Any) -> None:
    graph = rich(8)
    order = np.random.default_rng(3).permutation(8)
    vectorizer = fitted(graph, **settings)
    found = vectorizer(renumber(graph, order)).values
    torch.testing.assert_close(found, vectorizer(graph).values[order.tolist()], atol=1e-5, rtol=0)


def test_draw_flips_the_signs_of_eigenvectors_and_nothing_else() -> None:
    graph = tailed(9)
    vectorizer = fitted(graph, laplacian=4, random_walk=2)
    plain_values = vectorizer(graph).values
    seen = set()
    for draw in range(40):
        values = vectorizer(graph, draw).values
        assert torch.equal(values, vectorizer(graph, draw).values)
        assert torch.equal(values[:, :4], plain_values[:, :4])
        ratios = values[:, 4:] / plain_values[:, 4:]
        signs = ratios.nanmean(0).round().tolist()
        torch.testing.assert_close(values[:, 4:], plain_values[:, 4:] * torch.tensor(signs))
        seen.add(tuple(signs))
    assert len(seen) > 8
    assert torch.equal(vectorizer(graph).values, plain_values)  # what is kept is not flipped


def test_fewer_eigenvectors_than_asked_are_filled_up_and_said_once() -> None:
    message = (
        "laplacian=3 asks for more eigenvectors than 2 of 3 training graphs have, the first of "
        "them graph 1 with 1: the columns that they lack are 0"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        vectorizer = fitted(plain(5), plain(2), plain(0), laplacian=3)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = vectorizer(plain(2)).values
        fitted(plain(4), laplacian=3)
    assert values.shape == (2, 5)
    assert values[:, 2].abs().min() > 0
    assert not values[:, 3:].any()


def test_eigenvectors_are_computed_once_for_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compute = graph_vectorizer.laplacian_eigenvectors

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(graph_vectorizer, "laplacian_eigenvectors", counted)
    vectorizer = fitted(tailed(6), laplacian=2)
    first = vectorizer(tailed(6)).values
    assert torch.equal(vectorizer(tailed(6)).values, first)
    assert len(calls) == 1
    other = replace(tailed(6), num_nodes=7)  # the same edges, and an isolated node
    assert vectorizer(other).values.shape[0] == 7
    assert len(calls) == 2


def test_vectorizer_is_sent_without_what_it_keeps() -> None:
    vectorizer = fitted(tailed(6), laplacian=2)
    fresh = pickle.dumps(vectorizer)
    values = vectorizer(tailed(6)).values
    assert pickle.dumps(vectorizer) == fresh
    assert torch.equal(pickle.loads(fresh)(tailed(6)).values, values)


def test_state_is_json_and_gives_the_same_numbers() -> None:
    vectorizer = fitted(rich(5), normalize="columns", keep_edge_columns=True)
    again = GraphVectorizer(normalize="columns", keep_edge_columns=True)
    assert not again.is_fitted
    again.load_state(json.loads(json.dumps(vectorizer.state())))
    for name in ("values", "edge_index", "edge_attr"):
        expected = getattr(vectorizer(rich(4, seed=1)), name)
        assert torch.equal(getattr(again(rich(4, seed=1)), name), expected)


class Sample:
    """A source that notes how many of the graphs drawn before are still held."""

    num_nodes = 4
    drawn: ClassVar[list[weakref.ref[Any]]] = []
    held: ClassVar[list[int]] = []

    def sample(self, draw: int | None) -> Graph:
        self.held.append(sum(graph() is not None for graph in self.drawn))
        graph = rich(self.num_nodes, seed=len(self.drawn))
        self.drawn.append(weakref.ref(graph.features))
        return graph


@pytest.mark.parametrize("settings", [{}, {"normalize": "columns"}, {"laplacian": 2}])
def test_fitting_holds_no_graph_but_the_last_one(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Sample, "drawn", [])
    monkeypatch.setattr(Sample, "held", [])
    GraphVectorizer(**settings).fit(Sample() for _ in range(20))
    assert Sample.held == [0] + [1] * 19


def test_vectorizing_needs_fitting() -> None:
    with pytest.raises(RuntimeError, match="the vectorizer must be fitted, or given a state"):
        GraphVectorizer()(plain(3))


def test_length_is_the_number_of_nodes() -> None:
    assert fitted(plain(3)).length(plain(7)) == 7
    assert fitted(plain(3)).length(networkx.star_graph(4)) == 5
    with pytest.raises(TypeError, match="a graph must be a seqattn.Graph"):
        fitted(plain(3)).length("graph")


def test_fitting_refuses_a_graph_that_breaks_a_rule() -> None:
    with pytest.raises(ValueError, match="edge_index must name nodes in"):
        fitted(plain(3), Graph(2, edges((0, 2))))


COLUMNS = {
    "edge_attr": np.array([[0.5], [2]]),
    "edge_categories": np.array([["single"], ["double"]]),
}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["edge_attr"], "edge_attr"),
        (["edge_categories"], "edge_categories"),
        (["edge_attr", "edge_categories"], "edge_attr and edge_categories"),
    ],
)
def test_fitting_says_when_no_column_of_edges_is_their_weight(names: list[str], said: str) -> None:
    graph = Graph(2, edges((0, 1), (1, 0)), **{name: COLUMNS[name] for name in names})
    message = (
        f"the training graphs have {said} but no edge_weight, so that every edge weighs 1: name a "
        "column as edge_weight_column, or project them all by edge_heads"
    )
    with pytest.warns(UserWarning, match=message):
        fitted(graph, weighs_edges=True)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weighs_edges": True, "edge_weight_column": 0},
        {"weighs_edges": True, "keep_edge_columns": True},
    ],
)
def test_fitting_says_nothing_when_columns_of_edges_are_read_or_none_is_wanted(
    settings: Any, recwarn: Any
) -> None:
    fitted(Graph(2, edges((0, 1), (1, 0)), **COLUMNS), **settings)
    assert not recwarn.list


def test_fitting_says_nothing_when_edges_have_a_weight_or_no_column(recwarn: Any) -> None:
    fitted(rich(5), weighs_edges=True)
    fitted(plain(5), weighs_edges=True)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (Graph(2, edges((0, 2))), r"edge_index must name nodes in 0 .* got \[0, 2\] at edge 0"),
        (
            Graph(2, edges((0, 1)), edge_weight=np.array([-0.5])),
            "edge_weight must not be negative where layers multiply by it .* got -0.5 at edge 0",
        ),
        (Graph(2, edges((0, 1)), edge_weight=np.array([np.nan])), "edge_weight must be finite"),
        (Graph(2, edges((0, 1))), "edge_weight must have 1 column, as in .*, got none"),
        (
            Graph(2, edges((0, 1), (0, 1)), edge_weight=np.full(2, 3e38)),
            "edges that stand more than once are summed, .* got inf for the edge from node 0",
        ),
        (
            Graph(1, edges(), features=np.ones((1, 2))),
            "features must be left out, as in .*, got 2 columns",
        ),
        ("graph", "a graph must be a seqattn.Graph"),
    ],
)
def test_collator_names_the_graph_that_breaks_a_rule(odd: Any, message: str) -> None:
    weighted = Graph(2, edges((0, 1)), edge_weight=np.array([0.5]))
    vectorizer = fitted(weighted, positive_edges=True)
    with pytest.raises(DataError, match=f"example 'odd': {message}"):
        Collator(vectorizer)([Example(weighted, key="even"), Example(odd, key="odd")])
