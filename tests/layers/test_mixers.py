"""All mixers: the same contract, and none reads across a sequence's end."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seqattn import Encoder, Packing, Window
from seqattn.attention.layout import Layout
from seqattn.layers.convolution import Convolution, WindowMixer
from seqattn.layers.recurrent import Recurrent

LENGTHS = [4, 1, 0, 6]
OFFSETS = Packing.from_lengths(LENGTHS).offsets
CASES = [
    ("convolution", "full"),
    ("convolution", Window(2, 1)),
    ("window", Window(1, 2)),
    ("recurrent", "full"),
    ("recurrent_gru", "full"),
    ("none", "full"),
    ("attention_convolution", "full"),
]
CAUSAL = [
    ("convolution", "causal"),
    ("convolution", Window(3, 0)),
    ("window", Window(2, 0)),
    ("recurrent", "causal"),
    ("recurrent_gru", "causal"),
    ("none", "full"),
    ("attention_convolution", "causal"),
    ("attention_convolution", Window(2, 0)),
]


def make(mixer, pattern, **changes):
    torch.manual_seed(0)
    slots = {"position": "none", "dropout": 0.0, **changes}
    return Encoder(6, 2, 2, mixer=mixer, pattern=pattern, **slots).double()


def inputs(total=11):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(total, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("mixer", "pattern"), CASES + CAUSAL, ids=str)
def test_no_mixer_reads_across_a_sequences_end(mixer, pattern):
    encoder, x = make(mixer, pattern), inputs()

    together = encoder(x, OFFSETS)

    for start, end in zip(OFFSETS.tolist(), OFFSETS.tolist()[1:], strict=False):
        alone = encoder(x[start:end], torch.tensor([0, end - start]))
        torch.testing.assert_close(together[start:end], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mixer", "pattern"), CAUSAL, ids=str)
def test_no_output_depends_on_a_later_input_when_causal(mixer, pattern):
    encoder, x = make(mixer, pattern), inputs().requires_grad_()

    (grad,) = torch.autograd.grad(encoder(x, OFFSETS)[7].sum(), x)

    assert not grad[8:].any()


@pytest.mark.parametrize(("mixer", "pattern"), CAUSAL, ids=str)
def test_steps_equal_the_full_pass(mixer, pattern):
    encoder = make(mixer, pattern).eval()
    x = inputs(12).view(2, 6, 6)
    state = encoder.start(2)

    steps = [encoder.step(x[:, 0], state)]
    state.select(torch.tensor([1, 0]))
    steps += [encoder.step(x[[1, 0], i], state)[[1, 0]] for i in range(1, 6)]

    full = encoder(x.flatten(0, 1), torch.tensor([0, 6, 12])).view(2, 6, 6)
    torch.testing.assert_close(torch.stack(steps, 1), full, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mixer", "pattern"), CASES + CAUSAL, ids=str)
@pytest.mark.parametrize("lengths", [[], [0]], ids=str)
def test_empty_batch_gives_zero_gradients(mixer, pattern, lengths):
    encoder = make(mixer, pattern, norm_kind="batch")

    encoder(inputs(0), Packing.from_lengths(lengths).offsets).sum().backward()

    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_none_treats_every_position_alone():
    encoder, x = make("none", "full"), inputs()
    torch.testing.assert_close(encoder(x[5:6], torch.tensor([0, 1])), encoder(x, OFFSETS)[5:6])


def test_window_mixer_equals_a_convolution_with_copied_weights():
    mixer = WindowMixer(6, 1, 2).double()
    convolution = nn.Conv1d(6, 6, 4).double()
    with torch.no_grad():
        kernel = mixer.linear.weight.view(6, 4, 6).transpose(1, 2)
        convolution.weight.copy_(kernel)
        convolution.bias.copy_(mixer.linear.bias)
    x = inputs()

    out = mixer(x, Layout(Packing.from_lengths([11])))

    wanted = convolution(F.pad(x.T, (1, 2))[None])[0].T
    torch.testing.assert_close(out, wanted)


def test_convolution_is_gated_depthwise_and_pointwise():
    mixer = Convolution(6, 2, 1).double()
    x = inputs()

    out = mixer(x, Layout(Packing.from_lengths([11])))

    values, gate = F.linear(x, mixer.expand.weight, mixer.expand.bias).chunk(2, dim=-1)
    inner = F.pad((values * gate.sigmoid()).T, (2, 1))  # (D, 14)
    rows = [
        (inner[:, i : i + 4] * mixer.depthwise.weight[:, 0]).sum(1) + mixer.depthwise.bias
        for i in range(11)
    ]
    torch.testing.assert_close(out, mixer.contract(F.silu(torch.stack(rows))))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("is_causal", [True, False])
def test_recurrent_equals_torch_on_each_sequence(cell, is_causal):
    mixer = Recurrent(6, cell=cell, is_causal=is_causal).double()
    x = inputs()

    out = mixer(x, Layout(Packing.from_lengths(LENGTHS)))

    parts = [mixer.cell(part[:, None])[0][:, 0] for part in x.split(LENGTHS) if len(part)]
    torch.testing.assert_close(out, torch.cat(parts))


def test_recurrent_refuses_an_odd_width_when_bidirectional():
    with pytest.raises(ValueError, match="dim must be even with a bidirectional .* got 5"):
        Recurrent(5, cell="gru", is_causal=False)
