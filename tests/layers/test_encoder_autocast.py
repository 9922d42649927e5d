"""Every kernel and slot of the attention under autocast and in half precision."""

import itertools

import pytest
import torch

from seqattn import Encoder, Packing, Window
from seqattn.attention.patterns import Edges

PACKING = Packing.from_lengths([3, 1, 2])
INDEX = torch.tensor([[0, 1, 2, 5, 4], [1, 0, 2, 4, 5]])
WEIGHT = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0])
PATTERNS = {"full": "full", "causal": "causal", "window": Window(1, 1), "edges": Edges()}
WEIGHTS = ["ignore", "bias", "multiply", "replace"]
POSITIONS = ["none", "rotary", "alibi"]
KERNEL_PATTERNS = [
    *(("padded", name) for name in PATTERNS),
    ("window", "window"),
    ("edge_list", "edges"),
]


def make(slots):
    """The encoder, or None for slots that make no sense together (test_combinations.py)."""
    torch.manual_seed(0)
    try:
        return Encoder(8, 1, 2, feedforward_dim=8, **slots)
    except ValueError:
        return None


def run(encoder, x, weight):
    out = encoder(x, PACKING.offsets, INDEX, weight, packing=PACKING)
    out.float().square().sum().backward()
    assert torch.isfinite(out).all()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    return out


def grid(kernel, score, pattern):
    """The encoders of a kernel with a pattern; there are some."""
    encoders = []
    for weight, position, dropout in itertools.product(WEIGHTS, POSITIONS, [0.0, 0.1]):
        slots = {
            "kernel": kernel,
            "score": score,
            "pattern": PATTERNS[pattern],
            "edge_weight": weight,
            "position": position,
            "attention_dropout": dropout,
        }
        encoder = make(slots)
        if encoder is not None:
            encoders.append(encoder)
    assert encoders
    return encoders


@pytest.mark.parametrize(("kernel", "pattern"), KERNEL_PATTERNS)
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_combination_is_finite_under_autocast(kernel, score, pattern):
    for encoder in grid(kernel, score, pattern):
        with torch.autocast("cpu", torch.bfloat16):
            run(encoder, torch.randn(6, 8), WEIGHT.clone().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "pattern"), KERNEL_PATTERNS)
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_combination_is_finite_in_half_precision(kernel, score, pattern, dtype):
    for encoder in grid(kernel, score, pattern):
        run(encoder.to(dtype), torch.randn(6, 8, dtype=dtype), WEIGHT.clone().requires_grad_())


@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("weight", ["ignore", "bias", "multiply"])
def test_edge_list_under_autocast_is_near_to_single_precision(score, weight):
    slots = {"kernel": "edge_list", "score": score, "pattern": Edges(), "edge_weight": weight}
    encoder = make({**slots, "position": "none", "dropout": 0.0})
    x = torch.randn(6, 8)

    with torch.autocast("cpu", torch.bfloat16):
        out = run(encoder, x, WEIGHT)

    wanted = encoder(x, PACKING.offsets, INDEX, WEIGHT)
    torch.testing.assert_close(out.float(), wanted, rtol=0.05, atol=0.05)
