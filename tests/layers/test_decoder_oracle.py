"""The decoder against torch's own modules, with copied weights: output and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqattn import Decoder, Packing

LENGTHS, MEMORY = (5, 3, 1, 4), (2, 6, 3, 1)
DIM, HEADS, DEPTH = 8, 2, 2


def pack_and_pad(lengths: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), DIM, generator=generator, dtype=torch.float64)
    padded = nn.utils.rnn.pad_sequence(list(x.split(list(lengths))), batch_first=True)
    padding = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return x, Packing.from_lengths(lengths).offsets, padded, padding


def copy_layer(theirs: Any, ours: Any) -> None:
    own, cross = theirs.self_attn, theirs.multihead_attn
    names = {"weight": own.in_proj_weight, "bias": own.in_proj_bias}
    ours.mixer.project_in.load_state_dict(names)
    ours.mixer.project_out.load_state_dict(own.out_proj.state_dict())
    for target, part in (("query", slice(DIM)), ("memory", slice(DIM, 3 * DIM))):
        names = {"weight": cross.in_proj_weight[part], "bias": cross.in_proj_bias[part]}
        getattr(ours.cross, f"project_{target}").load_state_dict(names)
    ours.cross.project_out.load_state_dict(cross.out_proj.state_dict())
    ours.mixer_norm.load_state_dict(theirs.norm1.state_dict())
    ours.cross_norm.load_state_dict(theirs.norm2.state_dict())
    ours.feedforward_norm.load_state_dict(theirs.norm3.state_dict())
    ours.feedforward.expand.load_state_dict(theirs.linear1.state_dict())
    ours.feedforward.contract.load_state_dict(theirs.linear2.state_dict())


def make_pair(norm: Any, feedforward: Any) -> tuple[nn.TransformerDecoder, Decoder]:
    layer = nn.TransformerDecoderLayer(
        *(DIM, HEADS, 16),
        dropout=0.0,
        activation=feedforward,
        batch_first=True,
        norm_first=norm == "pre",
    )
    final = nn.LayerNorm(DIM) if norm == "pre" else None
    theirs = nn.TransformerDecoder(layer, DEPTH, norm=final).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = Decoder(
        *(DIM, DEPTH, HEADS),
        position="none",
        norm=norm,
        feedforward=feedforward,
        feedforward_dim=16,
        dropout=0.0,
    ).double()
    for source, target in zip(theirs.layers, ours.layers, strict=True):
        copy_layer(source, target)
    if theirs.norm is not None:
        ours.final_norm.load_state_dict(theirs.norm.state_dict())
    return theirs, ours


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("feedforward", ["relu", "gelu"])
def test_decoder_equals_torch_transformer_decoder(norm: str, feedforward: str) -> None:
    theirs, ours = make_pair(norm, feedforward)
    y, y_offsets, padded, padding = pack_and_pad(LENGTHS, 1)
    memory, offsets, padded_memory, memory_padding = pack_and_pad(MEMORY, 2)
    memory.requires_grad_()
    padded_memory.requires_grad_()

    wanted = theirs(
        padded,
        padded_memory,
        tgt_mask=torch.triu(torch.ones(5, 5, dtype=torch.bool), 1),
        tgt_key_padding_mask=padding,
        memory_key_padding_mask=memory_padding,
    )[~padding]
    out = ours(y, y_offsets, memory, offsets)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)

    probe = torch.randn_like(out)
    (out * probe).sum().backward()
    (wanted * probe).sum().backward()
    assert memory.grad is not None
    assert padded_memory.grad is not None
    reached = padded_memory.grad[~memory_padding]
    torch.testing.assert_close(memory.grad, reached, rtol=0, atol=1e-11)
    mine: Any
    other: Any
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        cross = other.multihead_attn.in_proj_weight.grad
        pairs = [
            (mine.mixer.project_in.weight.grad, other.self_attn.in_proj_weight.grad),
            (mine.cross.project_query.weight.grad, cross[:DIM]),
            (mine.cross.project_memory.weight.grad, cross[DIM:]),
            (mine.cross_norm.weight.grad, other.norm2.weight.grad),
            (mine.feedforward.expand.weight.grad, other.linear1.weight.grad),
        ]
        for gradient, original in pairs:
            torch.testing.assert_close(gradient, original, rtol=0, atol=1e-11)


def read_additively(cross: Any, query: Tensor, memory: Tensor) -> Tensor:
    """What one query (D,) reads of a memory (M, D) (Bahdanau et al. 2015, appendix A.1.2)."""
    width = DIM // HEADS
    asked = cross.project_query(query)
    keys, values = cross.project_memory(memory).split(DIM, dim=1)
    parts = []
    for head in range(HEADS):
        own = slice(head * width, (head + 1) * width)
        scores = [cross.score_vector[head] @ torch.tanh(asked[own] + key[own]) for key in keys]
        shares = [score.exp() / sum(other.exp() for other in scores) for score in scores]
        parts.append(sum(share * value[own] for share, value in zip(shares, values, strict=True)))
    out: Tensor = cross.project_out(torch.cat(parts))
    return out


@pytest.mark.parametrize(("mixer", "cell"), [("recurrent", nn.LSTM), ("recurrent_gru", nn.GRU)])
def test_recurrent_decoder_with_additive_score_is_the_attentive_recurrent_decoder(
    mixer: Any, cell: Any
) -> None:
    """A recurrent state, what it reads of the source by the additive score, both added up."""
    slots: dict[str, Any] = {"mixer": mixer, "score": "additive", "feedforward": "none"}
    ours = Decoder(DIM, 1, HEADS, **slots, norm="post", dropout=0.0).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.5)
    layer: Any = ours.layers[0]
    theirs = cell(DIM, DIM, batch_first=True).double()
    theirs.load_state_dict(layer.mixer.cell.state_dict())
    y, y_offsets, *_ = pack_and_pad(LENGTHS, 1)
    memory, offsets, *_ = pack_and_pad(MEMORY, 2)
    found = ours(y, y_offsets, memory, offsets).split(list(LENGTHS))
    sides = zip(y.split(list(LENGTHS)), memory.split(list(MEMORY)), found, strict=True)
    for own, read, out in sides:
        states = layer.mixer_norm(own + theirs(own[None])[0][0])
        wanted = [
            layer.cross_norm(state + read_additively(layer.cross, state, read)) for state in states
        ]
        torch.testing.assert_close(out, torch.stack(wanted), rtol=0, atol=1e-12)
