"""Whole heads on graphs: numbering, batch-mates, odd graphs, and another process."""

import math
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqattn import (
    DataError,
    Encoder,
    Example,
    Graph,
    GraphFrontEnd,
    SequenceClassification,
    TokenLabeling,
    attention_maps,
    hidden_states,
)
from seqattn.attention.patterns import Edges
from tests.frontends.small_graphs import both, edges, path, renumber, rich
from tests.heads.small_heads import build_on, fit, loader, trainer

EDGE_WEIGHTS = ["ignore", "bias", "multiply", "replace"]


def weighted(nodes: int, seed: int = 0) -> Graph:
    """A path with random weights and features."""
    random = np.random.default_rng(seed)
    index = path(nodes)
    return Graph(
        nodes,
        index,
        features=random.normal(size=(nodes, 3)),
        edge_weight=random.random(index.shape[1]),
    )


TRAINING = [weighted(4), weighted(6, seed=1), weighted(5, seed=2)]


def node_labels(graph: Graph) -> list[str]:
    return ["high" if row[0] > 0 else "low" for row in graph.features]


def encoder(**arguments: Any) -> Encoder:
    settings = {"pattern": Edges(), "position": "none", "dropout": 0.0, **arguments}
    return Encoder(16, 2, 2, **settings)


def tagger(graphs: list[Graph] = TRAINING, frontend: Any = None, **arguments: Any) -> TokenLabeling:
    head = TokenLabeling(
        frontend or GraphFrontEnd(dropout=0.0), encoder(**arguments), warmup_steps=0
    )
    return build_on(head, [Example(g, node_labels(g), str(i)) for i, g in enumerate(graphs)])


def classifier(graphs: list[Graph] = TRAINING, **settings: Any) -> SequenceClassification:
    given_encoder = settings.pop("encoder", {})
    frontend = GraphFrontEnd(**{"dropout": 0.0, **settings.pop("frontend", {})})
    head = SequenceClassification(frontend, encoder(**given_encoder), warmup_steps=0, **settings)
    kinds = {
        "single_label": ["odd", "even", "odd"],
        "multi_label": [["small"], ["large", "even"], []],
        "regression": [4.0, 6.0, 5.0],
    }[settings.get("objective", "single_label")]
    targets = [kinds[number % 3] for number in range(len(graphs))]
    return build_on(
        head, [Example(g, t, str(i)) for i, (g, t) in enumerate(zip(graphs, targets, strict=True))]
    )


def logits(head: Any, *graphs: Any) -> torch.Tensor:
    with torch.no_grad():
        return head.eval()(head.collate([Example(graph) for graph in graphs])).logits


# --- numbering, batch-mates ---------------------------------------------------------------------


@given(nodes=st.integers(1, 9), seed=st.integers(0, 10**6), kind=st.sampled_from(EDGE_WEIGHTS))
def test_nodes_numbered_otherwise_permute_the_predictions(nodes: int, seed: int, kind: str) -> None:
    graph = rich(nodes, seed)
    order = np.random.default_rng(seed).permutation(nodes)
    frontend = GraphFrontEnd(degree=True, random_walk=3, dropout=0.0)
    head = tagger([graph, rich(5)], frontend, edge_weight=kind).double()
    found = logits(head, renumber(graph, order))
    torch.testing.assert_close(found, logits(head, graph)[order.tolist()], atol=1e-5, rtol=0)


@given(nodes=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_graph_numbered_otherwise_has_the_same_label(nodes: int, seed: int) -> None:
    graph = rich(nodes, seed)
    order = np.random.default_rng(seed).permutation(nodes)
    settings = {"virtual_node": True, "edge_heads": 2, "positive_edges": True}
    head = classifier([rich(5), graph], frontend=settings, encoder={"edge_weight": "multiply"})
    found = logits(head.double(), renumber(graph, order))
    torch.testing.assert_close(found, logits(head, graph), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", EDGE_WEIGHTS)
@pytest.mark.parametrize("virtual_node", [True, False])
def test_graph_is_unchanged_whatever_lies_beside_it(kind: str, virtual_node: bool) -> None:
    settings = {"virtual_node": virtual_node, "laplacian": 2}
    head = classifier(frontend=settings, encoder={"edge_weight": kind}).double()
    graphs = [*TRAINING, weighted(1), Graph(0, edges())]
    alone = torch.cat([logits(head, graph) for graph in graphs])
    torch.testing.assert_close(logits(head, *graphs), alone, atol=1e-12, rtol=0)


# --- odd graphs ---------------------------------------------------------------------------------

ODD = {
    "no edge": (4, edges(), None),
    "isolated nodes": (4, both((0, 1)), None),
    "one node": (1, edges(), None),
    "one node with a loop": (1, edges((0, 0)), None),
    "no node": (0, edges(), None),
    "loops": (4, edges((0, 0), (1, 1), (2, 3)), None),
    "edges twice": (4, edges((0, 1), (0, 1), (1, 0), (0, 1)), None),
    "directed": (4, edges((0, 1), (1, 2), (2, 3)), None),
    "huge weights": (4, path(4), 1e30),
    "tiny weights": (4, path(4), 1e-30),
    "zero weights": (4, path(4), 0.0),
}


def odd_graph(name: str) -> Graph:
    nodes, index, weight = ODD[name]
    weights = np.full(index.shape[1], 0.5 if weight is None else weight)
    return Graph(nodes, index, features=np.ones((nodes, 3)), edge_weight=weights)


def heads_for(kind: str) -> list[Any]:
    settings = {"laplacian": 2, "random_walk": 2, "degree": True}
    own = {"edge_weight": kind, "norm": "post"}
    return [
        tagger(frontend=GraphFrontEnd(dropout=0.0, **settings), **own),
        classifier(frontend={**settings, "virtual_node": True}, encoder=own),
        classifier(frontend=settings, encoder=own, objective="multi_label", pooling="max"),
        classifier(frontend=settings, encoder=own, objective="regression", pooling="attention"),
    ]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", EDGE_WEIGHTS)
def test_odd_graph_is_finite_and_leaves_the_others_bit_equal(name: str, kind: str) -> None:
    odd = odd_graph(name)
    counterpart = weighted(odd.num_nodes, seed=7)
    for head in heads_for(kind):
        batch = head.eval().collate([Example(g) for g in (TRAINING[0], odd, TRAINING[1])])
        output = head(batch)
        output.logits.sum().backward()
        assert bool(output.logits.isfinite().all())
        for parameter in head.parameters():
            assert parameter.grad is None or bool(parameter.grad.isfinite().all())

        others = logits(head, TRAINING[0], counterpart, TRAINING[1])
        rows = torch.ones(len(others), dtype=torch.bool)
        bounds = (4, 4 + odd.num_nodes) if isinstance(head, TokenLabeling) else (1, 2)
        rows[slice(*bounds)] = False
        assert torch.equal(output.logits[rows], others[rows])


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", ["multiply", "replace"])
def test_weight_that_a_layer_cannot_multiply_by_names_graph_and_edge(
    kind: str, value: float
) -> None:
    weight = TRAINING[0].edge_weight.copy()
    weight[2] = value
    odd = replace(TRAINING[0], edge_weight=weight)
    head = tagger(edge_weight=["ignore", kind])
    rule = f"example '1': edge_weight must .*, got {value} at edge 2"
    with pytest.raises(DataError, match=rule):
        head.predict([TRAINING[1], odd])
    with pytest.raises(DataError, match=rule.replace("'1'", "'odd'")):
        head.collate([Example(TRAINING[1], key="even"), Example(odd, key="odd")])


@pytest.mark.parametrize("kind", ["ignore", "bias"])
def test_negative_weights_are_read_by_layers_that_do_not_multiply(kind: str) -> None:
    negative = replace(TRAINING[0], edge_weight=-TRAINING[0].edge_weight)
    assert bool(logits(tagger(edge_weight=kind), negative).isfinite().all())


@pytest.mark.parametrize("kind", ["multiply", "replace"])
def test_edge_scores_must_be_positive_for_a_layer_that_multiplies(kind: str) -> None:
    rule = "positive_edges must be True with edge_heads where a layer of the encoder has edge_w"
    with pytest.raises(ValueError, match=rule):
        TokenLabeling(GraphFrontEnd(edge_heads=2), encoder(edge_weight=kind))


@pytest.mark.parametrize("kind", EDGE_WEIGHTS)
def test_fitting_says_when_a_layer_reads_weights_and_edges_have_other_columns(kind: str) -> None:
    lengths = [
        replace(graph, edge_weight=None, edge_attr=graph.edge_weight[:, None]) for graph in TRAINING
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tagger(lengths, edge_weight=kind)
        tagger(lengths, GraphFrontEnd(edge_weight_column=0), edge_weight=kind)
    said = [str(warning.message) for warning in caught]
    expected = ["the training graphs have edge_attr but no edge_weight"] * (kind != "ignore")
    assert [text[: len(expected[0])] for text in said] == expected


# --- labels -------------------------------------------------------------------------------------


def test_nodes_without_label_do_not_count() -> None:
    graph = weighted(6)
    labels = node_labels(graph)
    known = np.array([True, False, True, True, False, True])
    head = tagger()
    half = replace(graph, labelled=known)
    hidden = [label if is_known else None for label, is_known in zip(labels, known, strict=True)]
    batch = head.collate([Example(half, hidden)])
    wrong = head.collate([Example(half, ["low" if k else "?" for k in known])])
    assert batch.labelled.tolist() == known.tolist()
    assert wrong.targets[~torch.from_numpy(known)].tolist() == [0, 0]
    losses = head.loss(head(batch), batch)
    assert losses.weight.tolist() == known.astype(float).tolist()
    assert losses.sums()[1] == 4


def test_labels_are_learned_from_labelled_nodes_and_told_of_all() -> None:
    graph = replace(weighted(6), labelled=np.array([True, True, True, True, False, False]))
    labels = [*node_labels(graph)[:4], None, None]
    head = fit(
        TokenLabeling(GraphFrontEnd(dropout=0.0), encoder(), learning_rate=1e-2, warmup_steps=0),
        [Example(graph, labels, "graph")],
        max_epochs=30,
    )
    assert len(head.target_vectorizer.labels) == 2
    assert sum(head.target_vectorizer.counts) == 4
    (found,) = head.predict([graph])
    assert len(found) == 6
    assert found[:4] == labels[:4]


def test_virtual_node_is_refused_for_labels_of_nodes() -> None:
    with pytest.raises(ValueError, match="a label for every position, got virtual_node=True"):
        TokenLabeling(GraphFrontEnd(virtual_node=True), encoder())


# --- scores of edges that no layer reads --------------------------------------------------------


@pytest.mark.parametrize(
    "slots",
    [
        {},
        {"pattern": "full"},
        {"pattern": "full", "mixer": "convolution"},
        {"edge_weight": ["ignore", "ignore"]},
    ],
)
@pytest.mark.parametrize("make", [TokenLabeling, SequenceClassification])
def test_edge_scores_are_refused_when_no_layer_reads_them(make: Any, slots: Any) -> None:
    rule = "edge_heads must be 0 where no layer of the encoder reads edge weights, got 2: give"
    with pytest.raises(ValueError, match=rule):
        make(GraphFrontEnd(edge_heads=2), encoder(**slots))


@pytest.mark.parametrize(
    "slots",
    [{"edge_weight": ["ignore", "bias"]}, {"edge_weight": "bias", "pattern": "full"}],
)
def test_edge_scores_are_taken_when_a_layer_reads_them(slots: Any) -> None:
    assert TokenLabeling(GraphFrontEnd(edge_heads=2), encoder(**slots)).frontend.edge_heads == 2


# --- a process without graphs -------------------------------------------------------------------

WITHOUT_NODES = {
    "no graph": [],
    "graphs without nodes": [Graph(0, edges())] * 2,
    "graphs without edges": [Graph(2, edges(), features=np.ones((2, 3)))],
}


@pytest.mark.parametrize("graphs", WITHOUT_NODES.values(), ids=WITHOUT_NODES)
@pytest.mark.parametrize(
    ("kind", "edge_heads"),
    [*((kind, 0) for kind in EDGE_WEIGHTS), *((kind, 2) for kind in EDGE_WEIGHTS[1:])],
)
def test_every_parameter_takes_part_without_nodes_or_edges(
    kind: str, edge_heads: int, graphs: list[Graph]
) -> None:
    settings = {"edge_heads": edge_heads, "positive_edges": True}
    heads = [
        tagger(frontend=GraphFrontEnd(**settings), edge_weight=kind),
        classifier(frontend={**settings, "virtual_node": True}, encoder={"edge_weight": kind}),
        classifier(frontend=settings, encoder={"edge_weight": kind}, pooling="attention"),
    ]
    for head in heads:
        is_tagger = isinstance(head, TokenLabeling)
        examples = [Example(g, ["low"] * g.num_nodes if is_tagger else "odd") for g in graphs]
        head.train().step(head.collate(examples), "train").sums()[0].backward()
        assert [name for name, p in head.named_parameters() if p.grad is None] == []
        if not graphs:
            assert all(not p.grad.any() for p in head.parameters())
        head.step(head.collate(examples), "val")


# --- what is looked at --------------------------------------------------------------------------


def test_pictures_name_the_nodes_and_know_the_edges() -> None:
    graph = networkx.karate_club_graph()
    head = tagger()
    head = build_on(
        TokenLabeling(GraphFrontEnd(), encoder()),
        [Example(graph, [graph.nodes[node]["club"] for node in graph])],
    )
    (found,) = attention_maps(head, [networkx.relabel_nodes(graph, {0: "Mr. Hi"})])
    assert found.row_labels[0] == "Mr. Hi"
    assert found.edge_index.shape == (2, 2 * graph.number_of_edges())
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(2, 2, 34))


def test_nodes_have_embeddings() -> None:
    states = hidden_states(tagger(), [TRAINING[0], TRAINING[1]], layers=[-1])
    assert [tuple(state.shape) for state in states] == [(1, 4, 16), (1, 6, 16)]
    with_virtual = classifier(frontend={"virtual_node": True})
    assert hidden_states(with_virtual, [TRAINING[0]])[0].shape == (3, 5, 16)


# --- another process ----------------------------------------------------------------------------


def test_checkpoints_predict_in_a_fresh_process(tmp_path: Path) -> None:
    graphs = [rich(5), rich(4, seed=1), rich(6, seed=2)]
    settings = {
        "normalize": "columns",
        "laplacian": 2,
        "random_walk": 2,
        "edge_heads": 2,
        "positive_edges": True,
    }
    own = {"edge_weight": "multiply"}
    heads = {
        "nodes": tagger(graphs, GraphFrontEnd(**settings), **own),
        "graphs": classifier(graphs, frontend={**settings, "virtual_node": True}, encoder=own),
    }
    targets = {"nodes": node_labels, "graphs": lambda graph: "odd"}
    for name, head in heads.items():
        running = trainer()
        running.fit(head, loader(head, [Example(g, targets[name](g)) for g in graphs]))
        running.save_checkpoint(tmp_path / f"{name}.ckpt")
    arrays = {name: table for name, table in vars(graphs[0]).items() if table is not None}
    np.savez(tmp_path / "graph.npz", **arrays)
    code = """
import numpy as np
import seqattn
arrays = dict(np.load("graph.npz"))
graph = seqattn.Graph(int(arrays.pop("num_nodes")), **arrays)
for name in ("nodes", "graphs"):
    print(seqattn.load(f"{name}.ckpt").predict([graph]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    expected = [str(head.predict([graphs[0]])) for head in heads.values()]
    assert done.stdout.splitlines() == expected, done.stderr
