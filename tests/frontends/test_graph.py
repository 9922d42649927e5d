from typing import Any

import networkx
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from seqattn import Encoder, Example, FrontEnd, Graph, GraphFrontEnd, SequenceBatch, recorded
from seqattn.attention.patterns import Edges
from seqattn.collate import Collator
from tests.frontends.small_graphs import edges, plain, renumber, rich

DIM = 8
EVERYTHING: dict[str, Any] = {
    "degree": True,
    "laplacian": 2,
    "random_walk": 2,
    "edge_heads": 2,
    "virtual_node": True,
    "embedding_norm": True,
}
BARE = Graph(0, edges())


def build(*graphs: Any, **settings: Any) -> GraphFrontEnd:
    torch.manual_seed(0)
    frontend = GraphFrontEnd(**settings)
    frontend.vectorizer.fit(graphs or [rich(5)])
    frontend.build(DIM)
    return frontend.eval()


def pack(frontend: GraphFrontEnd, *graphs: Any) -> SequenceBatch:
    return Collator(frontend.vectorizer)([Example(graph) for graph in graphs])


@pytest.mark.parametrize("settings", [{}, EVERYTHING, {**EVERYTHING, "positive_edges": True}])
def test_forward_gives_a_vector_per_node(settings: Any, device: torch.device) -> None:
    frontend = build(**settings).to(device)
    batch = pack(frontend, rich(5), BARE, rich(1), rich(4, seed=1)).to(device)
    out = frontend(batch)
    (out.values.sum() + (0 if out.edge_weight is None else out.edge_weight.sum())).backward()

    extra = int(settings.get("virtual_node", False))
    assert out.packing.lengths == (5 + extra, extra, 1 + extra, 4 + extra)
    assert out.values.shape == (10 + 4 * extra, DIM)
    assert bool(torch.isfinite(out.values).all())
    assert out.edge_attr is None
    assert all(p.grad is not None for p in frontend.parameters())


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
@pytest.mark.parametrize("graphs", [(), (BARE,), (BARE, BARE)])
def test_every_parameter_has_a_gradient_when_there_are_no_nodes(
    settings: Any, graphs: tuple[Graph, ...]
) -> None:
    frontend = build(**settings)
    out = frontend(pack(frontend, *graphs))
    total = out.values.sum()
    if out.edge_weight is not None:
        total = total + out.edge_weight.sum()
    total.backward()

    assert len(out) == len(graphs)
    assert all(p.grad is not None for p in frontend.parameters())


def test_every_node_is_at_position_0() -> None:
    frontend = build()
    batch = pack(frontend, rich(5), rich(4))
    out = frontend(batch)
    assert out.positions.tolist() == [0] * 9
    assert not out.packing.in_order
    assert not frontend.keeps_positions
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]  # the batch stays as it was


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_relative_positions_vanish(position: Any) -> None:
    frontend = build()
    out = frontend(pack(frontend, rich(5)))
    encoder = Encoder(DIM, 1, 2, position=position).eval()
    bare = Encoder(DIM, 1, 2, position="none").eval()
    bare.load_state_dict(encoder.state_dict())
    found = encoder(out.values, out.offsets, packing=out.packing)
    torch.testing.assert_close(found, bare(out.values, out.offsets, packing=out.packing))


def test_vector_is_the_sum_of_its_parts() -> None:
    graph = rich(5)
    frontend = build(graph, degree=True)
    values = pack(frontend, graph).values
    expected = (
        frontend.features(values[:, :3])
        + frontend.place(values[:, 3:5])
        + frontend.categories(values[:, 5:])
    )
    torch.testing.assert_close(frontend(pack(frontend, graph)).values, expected)


def test_layers_are_made_only_for_what_there_is() -> None:
    assert {name for name, _ in build(plain(3)).named_parameters()} == {
        "place.weight",
        "place.bias",
    }
    only = plain(3, categories=np.array([["a"], ["b"], ["a"]]))
    assert {name for name, _ in build(only).named_parameters()} == {"categories.table.weight"}


def test_unknown_category_has_the_vector_of_none() -> None:
    frontend = build(plain(2, categories=np.array([["a"], ["b"]])))
    out = frontend(pack(frontend, plain(1, categories=np.array([["z"]]))))
    assert out.values.tolist() == [[0] * DIM]


def test_edge_weight_is_handed_on_or_projected_for_each_head() -> None:
    graph = rich(4)
    plainly = build(graph)
    batch = pack(plainly, graph)
    assert plainly(batch).edge_weight is batch.edge_weight
    projected = build(graph, edge_heads=3)
    batch = pack(projected, graph)
    torch.testing.assert_close(projected(batch).edge_weight, projected.edges(batch.edge_attr))
    assert projected(batch).edge_weight.shape == (batch.edge_index.shape[1], 3)
    assert bool((build(graph, edge_heads=3, positive_edges=True)(batch).edge_weight > 0).all())


def test_encoder_refuses_scores_of_another_number_of_heads() -> None:
    frontend = build(rich(4), edge_heads=3)
    out = frontend(pack(frontend, rich(4)))
    encoder = Encoder(DIM, 1, 2, pattern=Edges(), edge_weight="bias")
    with pytest.raises(ValueError, match=r"edge_weight must have shape \(E,\) or \(E, H = 2\)"):
        encoder(out.values, out.offsets, out.edge_index, out.edge_weight, packing=out.packing)


def test_features_are_dropped_in_training_only() -> None:
    graph = plain(200, features=np.ones((200, 4)))
    frontend = build(graph, feature_dropout=0.5, dropout=0.0)
    batch = pack(frontend, graph)
    still = frontend(batch).values
    assert len(torch.unique(still, dim=0)) == 1
    frontend.train()
    dropped = frontend(batch).values
    assert len(torch.unique(dropped, dim=0)) == 2**4
    torch.testing.assert_close(dropped.mean(0), still[0], atol=0.5, rtol=0)


@pytest.mark.parametrize("settings", [{}, {**EVERYTHING, "laplacian": 0}])
def test_nodes_numbered_otherwise_permute_the_vectors(settings: Any) -> None:
    graph, order = rich(6), np.random.default_rng(0).permutation(6)
    frontend = build(graph, **settings)
    expected = frontend(pack(frontend, graph)).values[order.tolist()]
    found = frontend(pack(frontend, renumber(graph, order))).values[:6]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_weights_of_another_type_cast_what_they_read() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        frontend = build(**EVERYTHING).to(dtype)
        out = frontend(pack(frontend, rich(5)))
        assert out.values.dtype == out.edge_weight.dtype == dtype


def test_nodes_are_named_for_pictures() -> None:
    graph = networkx.Graph([("ann", "bob")])
    assert build(graph).position_labels(graph) == ["ann", "bob"]
    assert build(graph, virtual_node=True).position_labels(graph) == ["ann", "bob", "(all)"]
    assert build(graph).position_labels(plain(3)) == ["0", "1", "2"]


def test_forward_reads_nothing_back_from_the_device() -> None:
    frontend = build(**EVERYTHING)
    batch = pack(frontend, rich(5), rich(3))
    assert frontend.to("meta")(batch.to("meta")).values.is_meta


def test_workers_vectorize() -> None:
    frontend = build(**EVERYTHING)
    examples = [Example(rich(5, seed=number)) for number in range(4)]
    settings: dict[str, Any] = {"batch_size": 2, "collate_fn": Collator(frontend.vectorizer)}
    here = list(DataLoader(examples, **settings))
    there = list(DataLoader(examples, num_workers=1, **settings))
    for first, second in zip(here, there, strict=True):
        assert torch.equal(first.values, second.values)
        assert torch.equal(first.edge_attr, second.edge_attr)


def test_front_end_is_made_again_from_its_record() -> None:
    frontend = GraphFrontEnd(**EVERYTHING, normalize="rows", dropout=0.3)
    again = recorded.build(frontend.spec)
    assert isinstance(again, GraphFrontEnd)
    assert again.spec == frontend.spec
    assert frontend.spec["class_path"] == "seqattn.GraphFrontEnd"


def test_front_end_is_made_from_yaml() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(FrontEnd, "frontend")
    text = "{class_path: seqattn.GraphFrontEnd, init_args: {laplacian: 4, normalize: columns}}"
    made = parser.instantiate(parser.parse_args([f"--frontend={text}"])).frontend
    assert made.vectorizer.laplacian == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "row"}, "normalize must be one of none, rows, columns, got 'row'"),
        ({"laplacian": -1}, "laplacian must be at least 0, got -1"),
        ({"random_walk": -2}, "random_walk must be at least 0, got -2"),
        ({"edge_heads": -1}, "edge_heads must be at least 0, got -1"),
        ({"dropout": 1.0}, "dropout must lie in 0 … 1, without 1, got 1.0"),
        ({"feature_dropout": -0.1}, "feature_dropout must lie in 0 … 1, without 1, got -0.1"),
        (
            {"edge_heads": 2, "edge_weight_column": 0},
            "edge_weight_column names the one column that is read, edge_heads reads all: "
            "give one of them, got 0 and 2",
        ),
    ],
)
def test_front_end_is_refused_when_an_argument_breaks_a_rule(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphFrontEnd(**settings)
