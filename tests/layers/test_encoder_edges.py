"""The encoder on graphs."""

import math

import pytest
import torch

from seqattn import Encoder, Packing
from seqattn.attention.patterns import Edges

LENGTHS = [4, 3]
OFFSETS = Packing.from_lengths(LENGTHS).offsets
INDEX = torch.tensor([[0, 1, 2, 5, 4, 6], [1, 0, 1, 4, 5, 5]])  # position 3 is isolated
WEIGHT = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0, 3.0], dtype=torch.float64)
SLOTS = ["ignore", "bias", "multiply", "replace"]


def make(edge_weight="ignore", pattern=None, **changes):
    torch.manual_seed(0)
    slots = {"position": "none", "dropout": 0.0, "edge_weight": edge_weight, **changes}
    return Encoder(6, 2, 2, pattern=Edges() if pattern is None else pattern, **slots).double()


def inputs(total=7):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(total, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
@pytest.mark.parametrize("edge_weight", SLOTS)
def test_relabelling_nodes_relabels_outputs(edge_weight, kernel):
    encoder, x = make(edge_weight, kernel=kernel), inputs()
    order = torch.tensor([2, 0, 3, 1, 6, 4, 5])
    place = order.argsort()

    out = encoder(x[order], OFFSETS, place[INDEX], WEIGHT)

    torch.testing.assert_close(out, encoder(x, OFFSETS, INDEX, WEIGHT)[order])


@pytest.mark.parametrize("edge_weight", SLOTS)
def test_an_unconnected_graph_changes_nothing(edge_weight):
    encoder, x = make(edge_weight), inputs()

    alone = encoder(x[:4], OFFSETS[:2], INDEX[:, :3], WEIGHT[:3])

    torch.testing.assert_close(encoder(x, OFFSETS, INDEX, WEIGHT)[:4], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("edge_weight", SLOTS)
def test_kernels_agree_in_values_and_gradients(edge_weight):
    x, weight = inputs().requires_grad_(), WEIGHT.clone().requires_grad_()
    results = []
    for kernel in ("padded", "edge_list"):
        encoder = make(edge_weight, kernel=kernel)
        out = encoder(x, OFFSETS, INDEX, weight)
        wanted = (x, weight, *encoder.parameters())
        grads = torch.autograd.grad(out.square().sum(), wanted, allow_unused=True)
        results.append((out, *grads))

    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert (results[0][2] is None) == (edge_weight == "ignore")


def test_an_isolated_node_reads_itself():
    encoder, x = make(), inputs()

    out = encoder(x, OFFSETS, INDEX)

    alone = encoder(x[3:4], torch.tensor([0, 1]), torch.empty(2, 0, dtype=torch.int64))
    torch.testing.assert_close(out[3:4], alone)


def test_edges_are_directed_the_target_reads_the_source():
    encoder, x = make(), inputs().requires_grad_()
    index = torch.tensor([[0], [1]])

    (to_target,) = torch.autograd.grad(encoder(x, OFFSETS, index)[1].sum(), x)
    (to_source,) = torch.autograd.grad(encoder(x, OFFSETS, index)[0].sum(), x)

    assert to_target[0].any()
    assert not to_source[1].any()


def test_without_edges_an_edge_pattern_sees_the_whole_sequence():
    graph, text = make("bias"), make(pattern="full")
    text.load_state_dict(graph.state_dict(), strict=False)
    x = inputs()

    torch.testing.assert_close(graph(x, OFFSETS), text(x, OFFSETS))


def test_a_complete_graph_equals_full_attention():
    graph, text = make(), make(pattern="full")
    x = inputs()
    pairs = [(i, j) for i in range(7) for j in range(7) if (i < 4) == (j < 4)]

    out = graph(x, OFFSETS, torch.tensor(pairs).T)

    torch.testing.assert_close(out, text(x, OFFSETS))


def test_edges_that_no_layer_reads_change_nothing():
    encoder, x = make(pattern="full"), inputs()
    assert not encoder.reads_edges
    torch.testing.assert_close(encoder(x, OFFSETS, INDEX, WEIGHT), encoder(x, OFFSETS))
    assert make("bias", pattern="full").reads_edges


def test_weights_of_one_multiply_as_if_they_were_ignored():
    ignoring, multiplying = make(), make("multiply")
    x = inputs()

    torch.testing.assert_close(
        multiplying(x, OFFSETS, INDEX, torch.ones(6)), ignoring(x, OFFSETS, INDEX)
    )
    torch.testing.assert_close(multiplying(x, OFFSETS, INDEX), ignoring(x, OFFSETS, INDEX))


@pytest.mark.parametrize("edge_weight", ["bias", "multiply", "replace"])
@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
def test_equal_weights_per_head_are_the_same_as_one_column(edge_weight, kernel):
    encoder, x = make(edge_weight, kernel=kernel), inputs()

    out = encoder(x, OFFSETS, INDEX, WEIGHT[:, None].expand(-1, 2))

    torch.testing.assert_close(out, encoder(x, OFFSETS, INDEX, WEIGHT))


@pytest.mark.parametrize("edge_weight", SLOTS)
@pytest.mark.parametrize("lengths", [[], [0], [1], [3, 0]], ids=str)
def test_empty_edge_set_gives_a_finite_gradient_for_every_parameter(edge_weight, lengths):
    encoder = make(edge_weight)
    x = inputs(sum(lengths))
    index = torch.empty(2, 0, dtype=torch.int64)

    out = encoder(x, Packing.from_lengths(lengths).offsets, index)
    out.square().sum().backward()

    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("edge_weight", ["multiply", "replace"])
def test_negative_weights_are_refused(edge_weight):
    with pytest.raises(ValueError, match="edge_weight must not be negative .* got -1.0"):
        make(edge_weight)(inputs(), OFFSETS, INDEX, -torch.ones(6))


@pytest.mark.parametrize("edge_weight", ["multiply", "replace"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(edge_weight, value):
    weight = WEIGHT.clone()
    weight[2] = value
    with pytest.raises(ValueError, match=f"must not be negative or infinite or NaN .* got {value}"):
        make(edge_weight)(inputs(), OFFSETS, INDEX, weight)


@pytest.mark.parametrize("kernel", ["padded", "edge_list"])
def test_edges_that_leave_their_sequence_are_refused(kernel):
    with pytest.raises(ValueError, match="edge_index must join positions of one sequence"):
        make(kernel=kernel)(inputs(), OFFSETS, torch.tensor([[0], [5]]))


def test_replace_needs_edges():
    with pytest.raises(ValueError, match="'replace' needs a batch with edges, got edge_index=None"):
        make("replace")(inputs(), OFFSETS)


@pytest.mark.parametrize(
    ("index", "weight", "sentence"),
    [
        (None, WEIGHT, "edge_weight needs an edge_index, got None"),
        (INDEX[0], None, r"edge_index must have shape \(2, E\), got \(6,\)"),
        (INDEX, WEIGHT[:5], r"edge_weight must have one row per edge \(6\), got \(5,\)"),
        (INDEX, torch.ones(6, 3), r"edge_weight must have shape .* H = 2\), got \(6, 3\)"),
    ],
)
def test_edges_that_do_not_fit_are_refused(index, weight, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("bias")(inputs(), OFFSETS, index, weight)


@pytest.mark.parametrize("pattern", ["full", Edges()], ids=["full", "edges"])
@pytest.mark.parametrize("lengths", [[], [0], [3]], ids=str)
def test_a_batch_without_edges_gives_every_parameter_a_gradient(pattern, lengths):
    encoder = make("bias", pattern=pattern, score="additive")

    encoder(inputs(sum(lengths)), Packing.from_lengths(lengths).offsets).square().sum().backward()

    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
