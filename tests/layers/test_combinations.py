"""Every combination of the slots either computes or is refused with a sentence."""

import itertools

import pytest
import torch

from seqattn import Encoder, Packing, Window
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
def test_every_kernel_computes_or_is_refused(kernel, pattern, score):
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
            run(make(**slots))


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
