import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix

from seqattn import DataError, Edges, Encoder, Example, Graph, SequenceBatch
from seqattn.data import NeighborSampled, NodeSplit, Reader
from seqattn.recorded import build

DIM, NODES = 8, 40


def large_graph():
    """Return a graph with self-loops, edges that come twice, hubs and an isolated node."""
    rng = np.random.default_rng(0)
    ends = rng.integers(0, NODES - 1, (2, 150))
    ends[1, :20] = 3
    return Graph(
        NODES,
        np.concatenate([ends, ends[:, :5]], axis=1),
        features=rng.standard_normal((NODES, DIM)).astype(np.float32),
        edge_weight=rng.random(155).astype(np.float32),
    )


class Large(Reader):
    def __init__(self, nodes=NODES):
        self.nodes = nodes

    def read(self):
        yield Example(large_graph(), [f"label {node % 3}" for node in range(self.nodes)], "large")


class Other(Reader):
    """A reader of one thing that a test puts here."""

    def __new__(cls, thing):  # a graph is no plain data for a spec to hold
        self = object.__new__(cls)
        self._init_args = {}
        return self

    def __init__(self, thing):
        self.thing = thing

    def read(self):
        yield self.thing


def encode(encoder, graph):
    batch = SequenceBatch.from_list(
        [torch.from_numpy(graph.features)],
        [(torch.from_numpy(graph.edge_index), torch.from_numpy(graph.edge_weight))],
    )
    edges = (batch.edge_index, batch.edge_weight)
    return encoder(batch.values, batch.offsets, *edges, batch.positions * 0).detach()


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("edge_weight", ["ignore", "bias", "multiply", "replace"])
def test_seeds_get_what_the_large_graph_gives_them_when_fanouts_are_unlimited(edge_weight, hops):
    torch.manual_seed(0)
    encoder = Encoder(
        DIM, hops, 2, pattern=Edges(), edge_weight=edge_weight, position="none"
    ).eval()
    full = encode(encoder, large_graph())
    for example in NeighborSampled(Large(), [-1] * hops, 7).read():
        for draw in (None, 5):
            seeds = example.source.seeds
            found = encode(encoder, example.source.sample(draw))[: len(seeds)]
            torch.testing.assert_close(found, full[seeds], rtol=1e-6, atol=1e-6)


def test_seeds_get_something_else_when_a_hop_is_missing():
    torch.manual_seed(0)
    encoder = Encoder(DIM, 2, 2, pattern=Edges(), position="none").eval()
    full = encode(encoder, large_graph())
    example = next(NeighborSampled(Large(), [-1], NODES // 2).read())
    found = encode(encoder, example.source.sample())[: NODES // 2]
    assert (found - full[example.source.seeds]).abs().max() > 1e-3


def test_every_labelled_node_is_a_seed_once_when_read():
    split = NodeSplit(Large(), "train", 10, 5)
    (whole,) = split.read()
    examples = list(NeighborSampled(split, [3], 4).read())
    seeds = np.concatenate([example.source.seeds for example in examples])
    assert sorted(seeds.tolist()) == np.flatnonzero(whole.source.labelled).tolist()
    assert [len(example.target) for example in examples] == [4, 4, 2]
    for example in examples:
        names = [f"label {node % 3}" for node in example.source.seeds]
        assert example.target == names
    assert [example.key for example in examples] == ["large:0", "large:1", "large:2"]


def test_seeds_keep_their_order_when_not_shuffled():
    examples = list(NeighborSampled(Large(), [3], 16, shuffle=False).read())
    assert [example.source.seeds.tolist() for example in examples] == [
        list(range(16)),
        list(range(16, 32)),
        list(range(32, 40)),
    ]


def test_seeds_come_together_by_the_seed_alone():
    orders = [
        [tuple(example.source.seeds) for example in NeighborSampled(Large(), [3], 8, seed=s).read()]
        for s in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_all_neighborhoods_share_the_graph_when_read():
    first, second, *_ = (e.source for e in NeighborSampled(Large(), [3], 8).read())
    assert first.graph is second.graph
    assert first.in_edges is second.in_edges


def test_target_is_none_when_the_graph_has_no_labels():
    examples = NeighborSampled(Other(Example(large_graph(), None, "bare")), [3], 8).read()
    assert [example.target for example in examples] == [None] * 5


def test_sparse_features_can_be_cut_when_they_come_as_coordinates():
    graph = Graph(3, np.array([[0], [2]]), features=coo_matrix(np.eye(3)))
    (example,) = NeighborSampled(Other(Example(graph, list("abc"), "g")), [1], 8).read()
    assert example.source.sample(0).features.shape == (3, 3)


def test_no_example_is_given_when_no_node_is_labelled():
    graph = Graph(2, np.empty((2, 0), np.int64), labelled=np.zeros(2, dtype=bool))
    assert list(NeighborSampled(Other(Example(graph, [None, None])), [1]).read()) == []


@pytest.mark.parametrize(
    ("example", "rule"),
    [
        (Example("text", None, "t"), "'t': the source must be a seqattn.Graph, got str"),
        (
            Example(Graph(2, np.array([[0], [5]])), ["a", "b"], "g"),
            r"'g': edge_index must name nodes in 0 … .*, got \[0, 5\] at edge 0",
        ),
        (
            Example(Graph(2, np.array([[0, 1], [1, 0]]), edge_weight=np.ones(1)), None, "g"),
            r"'g': edge_weight must have shape \(2,\), got \(1,\)",
        ),
        (
            Example(Graph(2, np.array([[0], [1]])), ["a"], "g"),
            "'g': there must be a label or None for each of 2 nodes",
        ),
    ],
)
def test_source_is_refused_when_it_is_no_whole_graph(example, rule):
    with pytest.raises(DataError, match=rule):
        list(NeighborSampled(Other(example), [2]).read())


def test_arguments_are_refused_when_out_of_range():
    with pytest.raises(ValueError, match=r"fanouts must hold .* for each hop, got \[0\]"):
        NeighborSampled(Large(), [0])
    with pytest.raises(ValueError, match="batch_nodes must be at least 1, got 0"):
        NeighborSampled(Large(), [1], 0)


def test_reader_is_made_again_when_its_spec_is_built():
    reader = NeighborSampled(Large(), [5, -1], 8, seed=3)
    assert build(reader.spec).spec == reader.spec
