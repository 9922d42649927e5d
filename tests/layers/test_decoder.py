"""The decoder: independent lengths, layer maps, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seqattn import Decoder, Encoder, Packing, Window
from seqattn.attention.patterns import Edges
from seqattn.layers.pooling import LayerMix
from seqattn.recorded import build

LENGTHS, MEMORY = (3, 1, 4, 0, 2), (2, 5, 0, 3, 1)
POSITIONS = ["none", "sinusoidal", "learned", "rotary", "alibi"]


def make_decoder(**changes: Any) -> Decoder:
    torch.manual_seed(0)
    slots: dict[str, Any] = {"dim": 8, "depth": 2, "heads": 2, "dropout": 0.0, **changes}
    return Decoder(**slots).double()


def pack(*lengths: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), 8, generator=generator, dtype=torch.float64)
    return x, Packing.from_lengths(lengths).offsets


def both() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return *pack(*LENGTHS), *pack(*MEMORY, seed=1)


def hidden_states(depth: int) -> list[Tensor]:
    return [pack(*MEMORY, seed=seed)[0] for seed in range(depth + 1)]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_decoder_ignores_batch_mates(norm: Any, position: Any, score: Any) -> None:
    if (score, position) == ("additive", "rotary"):
        return
    decoder = make_decoder(norm=norm, position=position, score=score)
    y, y_offsets, memory, offsets = both()

    together = decoder(y, y_offsets, memory, offsets)

    parts = [x.split(list(n)) for x, n in ((y, LENGTHS), (memory, MEMORY), (together, LENGTHS))]
    for own, read, out in zip(*parts, strict=True):
        bounds = [torch.tensor([0, len(x)]) for x in (own, read)]
        alone = decoder(own, bounds[0], read, bounds[1])
        torch.testing.assert_close(out, alone, rtol=0, atol=1e-12)


def test_order_within_the_batch_is_irrelevant() -> None:
    decoder = make_decoder()
    y, y_offsets, memory, offsets = both()
    out = decoder(y, y_offsets, memory, offsets).split(list(LENGTHS))

    order = [4, 2, 0, 3, 1]
    parts = [
        torch.cat([x.split(list(n))[i] for i in order]) for x, n in ((y, LENGTHS), (memory, MEMORY))
    ]
    bounds = [Packing.from_lengths([n[i] for i in order]).offsets for n in (LENGTHS, MEMORY)]
    other = decoder(parts[0], bounds[0], parts[1], bounds[1])

    torch.testing.assert_close(other, torch.cat([out[i] for i in order]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("mixer", ["attention", "recurrent", "recurrent_gru", "convolution"])
def test_no_output_depends_on_a_later_input_or_another_memory(position: Any, mixer: Any) -> None:
    decoder = make_decoder(position=position, mixer=mixer)
    y, y_offsets, memory, offsets = both()
    y.requires_grad_()
    memory.requires_grad_()

    for row in (0, 1, 5):
        out = decoder(y, y_offsets, memory, offsets)[row, 0]
        to_y, to_memory = torch.autograd.grad(out, (y, memory))
        assert not to_y[row + 1 :].any()
        own = torch.zeros(len(memory), dtype=torch.bool)
        if row < 3:
            own[:2] = True
        assert not to_memory[~own].any()
        assert to_memory[own].all()


def test_an_empty_memory_is_read_as_zeros() -> None:
    decoder = make_decoder()
    y, y_offsets, memory, offsets = both()
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.cross.project_out.bias)  # type: ignore[union-attr, arg-type]

    out = decoder(y, y_offsets, memory, offsets)[4:8]

    for layer in decoder.layers:
        torch.nn.init.zeros_(layer.cross.project_out.weight)  # type: ignore[union-attr, arg-type]
    without = decoder(y, y_offsets, memory, offsets)[4:8]
    torch.testing.assert_close(out, without, rtol=0, atol=1e-12)
    assert out.isfinite().all()


@pytest.mark.parametrize("lengths", [(0, 2), (0,), ()])
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_every_parameter_gets_a_gradient_when_nothing_can_be_read(
    lengths: tuple[int, ...], score: Any
) -> None:
    decoder = make_decoder(score=score, position="learned", embedding_norm=True)
    y, y_offsets = pack(*lengths)
    memory, offsets = pack(*[0] * len(lengths))

    decoder(y, y_offsets, memory, offsets).sum().backward()

    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_memory_last_is_the_last_of_the_hidden_states() -> None:
    decoder, states = make_decoder(), hidden_states(3)
    y, y_offsets, _, offsets = both()

    assert not decoder.needs_layers
    found = decoder(y, y_offsets, states, offsets)

    assert torch.equal(found, decoder(y, y_offsets, states[-1], offsets))


@pytest.mark.parametrize(
    ("memory_layers", "read"), [("same_depth", [1, 2]), ([0, -1], [0, 2]), ([-2, 2], [1, 2])]
)
def test_each_layer_reads_its_layer(memory_layers: Any, read: list[int]) -> None:
    decoder, states = make_decoder(memory_layers=memory_layers), hidden_states(2)
    y, y_offsets, _, offsets = both()
    heard: list[Tensor] = []
    for layer in decoder.layers:
        layer.cross.register_forward_hook(lambda _, inputs, out: heard.append(inputs[1]))  # type: ignore[union-attr, operator]

    decoder.connect(2)
    decoder(y, y_offsets, states, offsets)

    assert decoder.needs_layers
    assert [any(one is state for state in [states[i]]) for one, i in zip(heard, read, strict=True)]
    assert all(one is states[i] for one, i in zip(heard, read, strict=True))


def test_a_mix_weighs_all_layers_for_each_layer() -> None:
    decoder, states = make_decoder(memory_layers="mix"), hidden_states(3)
    y, y_offsets, _, offsets = both()
    decoder.connect(3)
    decoder.connect(3)
    plain = make_decoder(memory_layers=[0, 1])
    plain.load_state_dict(
        {k: v for k, v in decoder.state_dict().items() if not k.startswith("mixes")}
    )
    torch.testing.assert_close(
        decoder(y, y_offsets, states, offsets),
        make_and_load(decoder)(y, y_offsets, torch.stack(states).mean(0), offsets),
    )
    for mix, number in zip(decoder.mixes, (0, 1), strict=True):
        assert isinstance(mix, LayerMix)
        with torch.no_grad():
            mix.scores.copy_(torch.where(torch.arange(4) == number, 0.0, -1e9))
    out = decoder(y, y_offsets, states, offsets)
    torch.testing.assert_close(out, plain(y, y_offsets, states, offsets))


def make_and_load(decoder: Decoder) -> Decoder:
    """Return a decoder of the same weights that reads the last layer only."""
    plain = make_decoder()
    weights = decoder.state_dict().items()
    plain.load_state_dict({k: v for k, v in weights if not k.startswith("mixes")})
    return plain


def test_edges_of_the_source_do_not_reach_the_decoder() -> None:
    encoder = Encoder(8, 1, 2, pattern=Edges(), position="none", dropout=0.0).double()
    x, offsets = pack(3, 2)
    index = torch.tensor([[0, 3], [1, 4]])
    y, y_offsets = pack(2, 2, seed=1)
    decoder = make_decoder()

    memory = encoder(x, offsets, index)

    out = decoder(y, y_offsets, memory, offsets)
    assert torch.equal(out, decoder(y, y_offsets, memory.clone(), offsets))
    assert out.shape == y.shape


def test_a_decoder_that_is_not_autoregressive_sees_both_ways() -> None:
    decoder = make_decoder(pattern="full", autoregressive=False)
    y, y_offsets, memory, offsets = both()
    y.requires_grad_()
    (grad,) = torch.autograd.grad(decoder(y, y_offsets, memory, offsets)[0, 0], y)
    assert grad[:3].any(1).all()
    with pytest.raises(ValueError, match="only a decoder with autoregressive=True writes step"):
        decoder.start(memory, offsets)


def test_embedding_norm_acts_after_the_positions() -> None:
    normed = make_decoder(position="learned", embedding_norm=True)
    plain = make_decoder(position="none")
    state = {k: v for k, v in normed.state_dict().items() if not k.startswith(("added", "input"))}
    plain.load_state_dict(state)
    y, y_offsets, memory, offsets = both()
    steps = Packing.from_lengths(LENGTHS).positions
    table = normed.added["learned"].table.weight  # type: ignore[union-attr]

    entered = torch.nn.functional.layer_norm(y + table[steps], (8,))  # type: ignore[index]

    torch.testing.assert_close(
        normed(y, y_offsets, memory, offsets), plain(entered, y_offsets, memory, offsets)
    )


def test_decoder_is_made_again_from_its_record() -> None:
    decoder = make_decoder(memory_layers=[0, 1], mixer=["attention", "recurrent"], norm="post")
    again = build(decoder.spec).double()
    again.load_state_dict(decoder.state_dict())
    y, y_offsets, _, offsets = both()
    states = hidden_states(2)
    assert torch.equal(again(y, y_offsets, states, offsets), decoder(y, y_offsets, states, offsets))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"memory_layers": "first"}, "memory_layers must be one of 'last', .* got 'first'"),
        ({"memory_layers": [1]}, r"memory_layers must have one entry .* \(depth=2\), got 1"),
        ({"pattern": "full"}, r"autoregressive=True needs causal patterns, got Full \(layer 0\)"),
        (
            {"pattern": ["full", "causal"], "autoregressive": False},
            r"autoregressive=False needs patterns that look ahead, got Causal \(layer 1\)",
        ),
        ({"pattern": Window(1, 1)}, "needs causal patterns, got Window"),
        ({"pattern": Edges()}, "positions have no edges, got pattern Edges"),
        ({"edge_weight": "bias"}, "have no edges, got pattern Causal and edge_weight='bias'"),
        ({"dropout": 2.0}, r"dropout must lie in 0 … 1, got 2"),
        ({"heads": 3}, "heads must divide dim unless head_dim is given"),
    ],
)
def test_a_wrong_decoder_is_refused(changes: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make_decoder(**changes)


@pytest.mark.parametrize(
    ("memory_layers", "states", "rule"),
    [
        ("same_depth", 3, r"as deep as the decoder \(2 layers\), got 3 layers"),
        ([0, 4], 2, "memory_layers must lie in -3 … 2, the encoder's hidden states, got 4"),
        ("mix", 2, r"memory_layers='mix' needs decoder.connect\(encoder_depth\) first"),
    ],
)
def test_hidden_states_that_do_not_fit_are_refused(
    memory_layers: Any, states: int, rule: str
) -> None:
    decoder = make_decoder(memory_layers=memory_layers)
    y, y_offsets, _, offsets = both()
    with pytest.raises(ValueError, match=rule):
        decoder(y, y_offsets, hidden_states(states), offsets)


def test_one_tensor_is_refused_where_layers_are_needed() -> None:
    y, y_offsets, memory, offsets = both()
    with pytest.raises(ValueError, match="list of hidden states with .*'same_depth', got one"):
        make_decoder(memory_layers="same_depth")(y, y_offsets, memory, offsets)


def test_a_mix_for_another_encoder_is_refused() -> None:
    decoder = make_decoder(memory_layers="mix")
    decoder.connect(3)
    with pytest.raises(ValueError, match="made for an encoder of 3 layers, got 2"):
        decoder.connect(2)


@pytest.mark.parametrize("memory_layers", ["same_depth", [0, 2]])
def test_connect_refuses_an_encoder_without_such_layers(memory_layers: Any) -> None:
    with pytest.raises(ValueError, match="memory_layers"):
        make_decoder(memory_layers=memory_layers).connect(1)


def test_wrong_shapes_are_refused() -> None:
    decoder = make_decoder()
    y, y_offsets, memory, offsets = both()
    with pytest.raises(ValueError, match=r"y must have shape \(T_y, D = 8\), got \(10, 7\)"):
        decoder(y[:, :7], y_offsets, memory, offsets)
    with pytest.raises(ValueError, match=r"memory must have shape .* = \(11, 8\), got \(10, 8\)"):
        decoder(y, y_offsets, memory[:10], offsets)
    with pytest.raises(ValueError, match=r"memory must hold one sequence for .* \(5\), got 4"):
        decoder(y, y_offsets, memory[:10], offsets[:5])


def test_a_sequence_longer_than_the_learned_table_is_refused() -> None:
    decoder = make_decoder(position="learned", max_length=3)
    y, y_offsets, memory, offsets = both()
    with pytest.raises(ValueError, match=r"\(max_length=3\), got 4 positions"):
        decoder(y, y_offsets, memory, offsets)
