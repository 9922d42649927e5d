"""The encoder against torch's own modules, with copied weights: output and gradient."""

import pytest
import torch
from torch import nn

from seqattn import Encoder, Packing

LENGTHS = (5, 3, 1, 4)
DIM, HEADS, DEPTH = 8, 2, 2


def pack_and_pad():
    torch.manual_seed(1)
    x = torch.randn(sum(LENGTHS), DIM, dtype=torch.float64)
    padded = nn.utils.rnn.pad_sequence(x.split(LENGTHS), batch_first=True)
    padding = torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]
    return x, Packing.from_lengths(LENGTHS).offsets, padded, padding


def copy_layer(theirs, ours):
    with torch.no_grad():
        ours.mixer.project_in.weight.copy_(theirs.self_attn.in_proj_weight)
        ours.mixer.project_in.bias.copy_(theirs.self_attn.in_proj_bias)
    ours.mixer.project_out.load_state_dict(theirs.self_attn.out_proj.state_dict())
    ours.mixer_norm.load_state_dict(theirs.norm1.state_dict())
    ours.feedforward_norm.load_state_dict(theirs.norm2.state_dict())
    ours.feedforward.expand.load_state_dict(theirs.linear1.state_dict())
    ours.feedforward.contract.load_state_dict(theirs.linear2.state_dict())


def make_pair(norm, feedforward):
    layer = nn.TransformerEncoderLayer(
        DIM,
        HEADS,
        16,
        dropout=0.0,
        activation=feedforward,
        batch_first=True,
        norm_first=norm == "pre",
    )
    final = nn.LayerNorm(DIM) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, DEPTH, norm=final, enable_nested_tensor=False).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = Encoder(
        DIM,
        DEPTH,
        HEADS,
        position="none",
        norm=norm,
        feedforward=feedforward,
        feedforward_dim=16,
        dropout=0.0,
    ).double()
    for source, target in zip(theirs.layers, ours.layers, strict=True):
        copy_layer(source, target)
    if final is not None:
        ours.final_norm.load_state_dict(theirs.norm.state_dict())
    return theirs, ours


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("feedforward", ["relu", "gelu"])
def test_encoder_equals_torch_transformer_encoder(norm, feedforward):
    theirs, ours = make_pair(norm, feedforward)
    x, offsets, padded, padding = pack_and_pad()

    wanted = theirs(padded, src_key_padding_mask=padding)[~padding]
    out = ours(x, offsets)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)

    probe = torch.randn_like(out)
    (out * probe).sum().backward()
    (wanted * probe).sum().backward()
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        pairs = [
            (mine.mixer.project_in.weight, other.self_attn.in_proj_weight),
            (mine.mixer.project_in.bias, other.self_attn.in_proj_bias),
            (mine.mixer_norm.weight, other.norm1.weight),
            (mine.feedforward.expand.weight, other.linear1.weight),
        ]
        for parameter, original in pairs:
            torch.testing.assert_close(parameter.grad, original.grad, rtol=0, atol=1e-11)


def test_causal_encoder_equals_torch_with_a_causal_mask():
    theirs, ours = make_pair("pre", "relu")
    causal = Encoder(**{**ours.spec["init_args"], "pattern": "causal"}).double()
    causal.load_state_dict(ours.state_dict())
    x, offsets, padded, padding = pack_and_pad()

    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    wanted = theirs(padded, mask=mask, src_key_padding_mask=padding)[~padding]

    torch.testing.assert_close(causal(x, offsets), wanted, rtol=0, atol=1e-12)
