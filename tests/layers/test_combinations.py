"""Every combination of the slots either computes or is refused with a sentence."""

import itertools

import pytest
import torch

from seqattn import Decoder, Encoder, Packing, Window, attend
from seqattn.attention import multihead
from seqattn.attention.patterns import Edges

PATTERNS = {"full": "full", "causal": "causal", "window": Window(1, 2), "edges": Edges()}
MIXERS = [
    "attention",
    "convolution",
    "recurrent",
    "recurrent_gru",
    "window",
    "none",
    "attention_convolution",
]
ATTENDS = ("attention", "attention_convolution")
WEIGHTS = ["ignore", "bias", "multiply", "replace"]
POSITIONS = ["none", "sinusoidal", "learned", "rotary", "alibi"]
KERNELS = ["auto", "padded", "window", "edge_list", "varlen"]

PACKING = Packing.from_lengths([3, 1, 2])
INDEX = torch.tensor([[0, 1, 2, 5, 4], [1, 0, 2, 4, 5]])
WEIGHT = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0])


def make(**slots):
    torch.manual_seed(0)
    return Encoder(4, 1, 2, feedforward_dim=4, max_length=5, dropout=0.0, **slots)


def per_head(terms, edges, heads):
    """A number of each edge (H or 1, E') as a matrix of the batch, zero elsewhere: (H, T, T)."""
    total = edges.packing.total
    entries = (torch.arange(heads)[:, None], edges.target, edges.source)
    return terms.new_zeros(heads, total, total).index_put(entries, terms.expand(heads, -1))


def formula(query, key, value, packing, scoring, kernel):
    """The reference, on the batch as one sequence in which nobody sees another sequence."""
    ids, heads = packing.sequence_ids, query.shape[1]
    distance = packing.positions[None, :] - packing.positions[:, None]
    mask = (ids[:, None] == ids) & scoring.pattern.allows(distance)
    bias, multiplier, terms = query.new_zeros(heads, 1, 1), None, scoring.terms
    if scoring.slopes is not None:
        bias = -scoring.slopes[:, None, None] * distance.abs()
    if terms is not None:
        if terms.is_pattern:
            mask = per_head(torch.ones(1, len(terms.edges)), terms.edges, 1).bool()
        if terms.scaled_bias is not None:
            bias = bias + per_head(terms.scaled_bias, terms.edges, heads)
        if terms.multiplier is not None:
            multiplier = per_head(terms.multiplier, terms.edges, heads)
    vector = scoring.score_vector
    out, _ = attend(
        *(x.transpose(0, 1) for x in (query, key, value)),
        score="dot" if vector is None else "additive",
        score_vector=vector,
        scale=scoring.scale,
        mask=mask,
        bias=bias,
        multiplier=multiplier,
    )
    return out.transpose(0, 1)


def formula_of_given_weights(value, weights, edges, kernel):
    """The weighted sum, by the matrix of all edges."""
    return (per_head(weights, edges, value.shape[1]) @ value.transpose(0, 1)).transpose(0, 1)


def assert_equals_formula(encoder, monkeypatch):
    """Compare the output and the gradients of every parameter with those of the reference."""
    encoder, x = encoder.double(), torch.randn(6, 4, dtype=torch.float64)
    results = []
    for use_formula in (False, True):
        with monkeypatch.context() as patch:
            if use_formula:
                patch.setattr(multihead, "run_attention", formula)
                patch.setattr(multihead, "run_aggregate", formula_of_given_weights)
            out = encoder(x, PACKING.offsets, INDEX, WEIGHT, packing=PACKING)
        grads = torch.autograd.grad(out.square().sum(), encoder.parameters())
        results.append((out, *grads))
    torch.testing.assert_close(*results, rtol=0, atol=1e-10)


def run(encoder):
    x = torch.randn(6, 4, requires_grad=True)
    out = encoder(x, PACKING.offsets, INDEX, WEIGHT, packing=PACKING)
    out.sum().backward()
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def makes_sense(mixer, score, pattern, weight, position):
    """The table of docs/attention.md, row by row."""
    if mixer not in ATTENDS:
        if pattern == "edges" or score != "dot" or weight != "ignore":
            return False
        if mixer == "window":
            return pattern == "window"
        return pattern != "window" or mixer == "convolution"
    return not (
        (weight in ("multiply", "replace") and pattern != "edges")
        or (weight == "replace" and score == "additive")
        or (weight == "replace" and position in ("rotary", "alibi"))
        or (score == "additive" and position == "rotary")
        or (mixer == "attention_convolution" and pattern == "edges")
    )


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_combination_computes_or_is_refused(mixer, score):
    for pattern, weight, position in itertools.product(PATTERNS, WEIGHTS, POSITIONS):
        slots = {
            "mixer": mixer,
            "score": score,
            "pattern": PATTERNS[pattern],
            "edge_weight": weight,
            "position": position,
        }
        if makes_sense(mixer, score, pattern, weight, position):
            run(make(**slots))
        else:
            with pytest.raises(ValueError, match=r", got .* \(layer 0\)$"):
                make(**slots)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_kernel_equals_the_formula_or_is_refused(kernel, pattern, score, monkeypatch):
    for weight, position in itertools.product(WEIGHTS, ["none", "alibi"]):
        slots = {
            "kernel": kernel,
            "score": score,
            "pattern": PATTERNS[pattern],
            "edge_weight": weight,
            "position": position,
        }
        sensible = makes_sense("attention", score, pattern, weight, position)
        sensible &= {
            "auto": True,
            "padded": True,
            "window": pattern == "window" and weight == "ignore",
            "edge_list": pattern == "edges",
            "varlen": pattern != "edges"
            and weight == "ignore"
            and score == "dot"
            and position == "none",
        }[kernel]
        if not sensible:
            with pytest.raises(ValueError, match=r", got .* \(layer 0\)$"):
                make(**slots)
        elif kernel == "varlen":
            with pytest.raises(ValueError, match="cannot compute this layer: it needs CUDA"):
                run(make(**slots))
        else:
            assert_equals_formula(make(**slots), monkeypatch)


@pytest.mark.parametrize("mixer", ["recurrent", "recurrent_gru", "convolution", "none"])
def test_additive_score_of_a_mixer_without_attention_is_the_cross_attentions(mixer):
    layer = Decoder(4, 1, 2, mixer=mixer, score="additive").layers[0]
    assert layer.cross.score_vector.shape == (2, 2)
    sentence = f"mixer='{mixer}' has no score, got score='additive'"
    with pytest.raises(ValueError, match=sentence):
        make(mixer=mixer, score="additive")
    with pytest.raises(ValueError, match="kernel='varlen' knows the plain dot score only"):
        Decoder(4, 1, 2, mixer=mixer, score="additive", kernel="varlen")


def test_a_kernel_named_needs_a_layer_that_attends():
    sentence = "kernel='padded' needs a layer with attention, got mixer='none', 'recurrent'"
    with pytest.raises(ValueError, match=sentence):
        Encoder(4, 2, 2, mixer=["recurrent", "none"], kernel="padded")
    assert Encoder(4, 2, 2, mixer=["recurrent", "attention"], kernel="padded").slots
    assert Decoder(4, 1, 2, mixer="none", kernel="varlen").slots  # its cross-attention reads it


@pytest.mark.parametrize(
    ("slots", "sentence"),
    [
        ({"edge_weight": "multiply"}, "edge_weight='multiply' needs the pattern Edges, got Full"),
        (
            {"edge_weight": "replace", "pattern": Edges(), "score": "additive"},
            "edge_weight='replace' has no score, got score='additive'",
        ),
        (
            {"edge_weight": "replace", "pattern": Edges(), "position": "alibi"},
            "edge_weight='replace' has no score for a position, got 'alibi'",
        ),
        ({"score": "additive"}, "position='rotary' needs the dot score, got score='additive'"),
        (
            {"mixer": "attention_convolution", "pattern": Edges()},
            "a convolution needs an order, got the pattern Edges",
        ),
        (
            {"edge_weight": "replace", "pattern": Edges(), "position": "rotary"},
            "edge_weight='replace' has no score for a position, got 'rotary'",
        ),
        (
            {"mixer": "recurrent", "pattern": Window(1, 1)},
            "mixer='recurrent' has no window, got the pattern Window",
        ),
        (
            {"mixer": "convolution", "pattern": Edges()},
            "mixer='convolution' reads no edges, got the pattern Edges",
        ),
        (
            {"mixer": "none", "score": "additive"},
            "mixer='none' has no score, got score='additive'",
        ),
        (
            {"mixer": "recurrent_gru", "edge_weight": "bias"},
            "mixer='recurrent_gru' reads no edges, got edge_weight='bias'",
        ),
        ({"kernel": "window"}, "kernel='window' needs a Window as its pattern, got Full"),
        (
            {"kernel": "window", "pattern": Window(1, 1), "edge_weight": "bias"},
            "kernel='window' knows no edge weights, got 'bias'",
        ),
        ({"kernel": "edge_list"}, "kernel='edge_list' needs the pattern Edges, got Full"),
        (
            {"kernel": "varlen", "pattern": Edges()},
            "kernel='varlen' knows no edges, got the pattern Edges",
        ),
        (
            {"kernel": "varlen", "edge_weight": "bias"},
            "kernel='varlen' knows no edge weights, got 'bias'",
        ),
        (
            {"kernel": "varlen", "position": "alibi"},
            "kernel='varlen' knows the plain dot score only, got 'additive' or 'alibi'",
        ),
        ({"mixer": "window"}, "mixer='window' needs a Window as its pattern, got Full"),
        (
            {"mixer": "none", "feedforward": "none"},
            "a layer needs a mixer or a feed-forward network, got 'none' for both",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(slots, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**slots)
