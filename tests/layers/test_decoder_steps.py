"""Step by step the decoder computes what one pass does, with rows that come and go."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from seqattn import Decoder, Packing, Window
from seqattn.attention.patterns import as_pattern
from seqattn.layers.slots import LayerSlots, refuse

MEMORY = (4, 0, 2)
DIM, STEPS = 4, 5
CAUSAL: dict[str, Any] = {"causal": "causal", "window": Window(2, 0)}
MIXERS = [
    "attention",
    "convolution",
    "recurrent",
    "recurrent_gru",
    "window",
    "none",
    "attention_convolution",
]


def make_decoder(**slots: Any) -> Decoder:
    torch.manual_seed(0)
    made = Decoder(DIM, 2, 2, feedforward_dim=4, max_length=20, dropout=0.1, **slots)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.double().eval()


def draw(depth: int, lengths: tuple[int, ...] = MEMORY) -> tuple[list[Tensor], Tensor]:
    states = [torch.randn(sum(lengths), DIM, dtype=torch.float64) for _ in range(depth + 1)]
    return states, Packing.from_lengths(lengths).offsets


def full_pass(decoder: Decoder, y: Tensor, memory: Any, offsets: Tensor) -> Tensor:
    """Return the decoding of rows of equal length. Shape: y (R, L, D). returns: (R, L, D)."""
    bounds = Packing.from_lengths([y.shape[1]] * len(y)).offsets
    return decoder(y.flatten(0, 1), bounds, memory, offsets).view(y.shape)


def check_steps(decoder: Decoder, memory: Any, offsets: Tensor, steps: int = STEPS) -> None:
    y = torch.randn(len(offsets) - 1, steps, DIM, dtype=torch.float64)
    state = decoder.start(memory, offsets)
    found = [decoder.step(y[:, i], state) for i in range(steps)]
    expected = full_pass(decoder, y, memory, offsets)
    torch.testing.assert_close(torch.stack(found, 1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("norm", ["pre", "post"])
@torch.no_grad()
def test_steps_equal_the_full_pass_for_every_combination(mixer: Any, norm: Any) -> None:
    tried = 0
    for score, pattern, position in itertools.product(
        ["dot", "additive"], CAUSAL, ["none", "sinusoidal", "learned", "rotary", "alibi"]
    ):
        slots: Any = {"mixer": mixer, "score": score, "position": position, "norm": norm}
        rest: Any = {"norm_kind": "layer", "feedforward": "gelu", "edge_weight": "ignore"}
        layer = LayerSlots(**slots, **rest, pattern=as_pattern(CAUSAL[pattern]))
        if refuse(layer, reads_memory=True):
            continue
        states, offsets = draw(2)
        check_steps(make_decoder(**slots, pattern=CAUSAL[pattern]), states[-1], offsets)
        tried += 1
    assert tried >= 5


@pytest.mark.parametrize(
    "slots",
    [
        {"memory_layers": "mix"},
        {"memory_layers": "same_depth"},
        {"memory_layers": [0, 1]},
        {"embedding_norm": True, "position": "learned", "norm": "post"},
        {"norm_kind": "rms", "feedforward": "swiglu"},
        {"norm_kind": "batch", "feedforward": "none"},
        {"head_dim": 6, "value_dim": 3, "feedforward": "relu"},
        {"mixer": ["recurrent", "attention"], "position": ["none", "alibi"]},
    ],
    ids=str,
)
@torch.no_grad()
def test_steps_equal_the_full_pass_for_every_other_slot(slots: Any) -> None:
    decoder = Decoder(DIM, 2, 2, **slots).double().eval()
    decoder.connect(2)
    states, offsets = draw(2)
    check_steps(decoder, states if decoder.needs_layers else states[-1], offsets)


@torch.no_grad()
def test_steps_equal_the_full_pass_beyond_the_first_capacity() -> None:
    states, offsets = draw(0, (3, 3))
    check_steps(make_decoder(), states[-1], offsets, steps=34)


@pytest.mark.parametrize("mixer", ["attention", "recurrent", "convolution"])
@torch.no_grad()
def test_rows_are_selected_while_memories_stay(mixer: Any) -> None:
    decoder = make_decoder(mixer=mixer, position="learned")
    (memory,), offsets = draw(0)
    y = torch.randn(3, 1, DIM, dtype=torch.float64)
    state = decoder.start(memory, offsets)
    decoder.step(y[:, 0], state)
    keys = state.memories[0].keys

    state.select(torch.tensor([0, 0, 1, 1, 2, 2]))  # two beams for each sentence
    assert state.width == 2
    assert state.memories[0].keys is keys
    assert len(keys) == 3
    y = torch.cat([y.repeat_interleave(2, 0), torch.randn(6, 1, DIM, dtype=torch.float64)], 1)
    out = decoder.step(y[:, 1], state)

    rows = torch.tensor([1, 1, 4, 5])  # sentence 1 leaves, sentence 0 goes on from its second
    state.select(rows, torch.tensor([0, 2]))
    assert (state.size, state.sentences, state.length) == (4, 2, 2)
    y = torch.cat([y[rows], torch.randn(4, 1, DIM, dtype=torch.float64)], 1)
    last = decoder.step(y[:, 2], state)

    parts = memory.split(MEMORY)
    copies = [parts[i] for i in (0, 0, 2, 2)]
    bounds = Packing.from_lengths([len(part) for part in copies]).offsets
    expected = full_pass(decoder, y, torch.cat(copies), bounds)
    torch.testing.assert_close(last, expected[:, 2], rtol=0, atol=1e-12)
    torch.testing.assert_close(out[rows], expected[:, 1], rtol=0, atol=1e-12)


@torch.no_grad()
def test_all_sentences_may_leave() -> None:
    decoder = make_decoder()
    (memory,), offsets = draw(0)
    state = decoder.start(memory, offsets)
    none = torch.empty(0, dtype=torch.int64)
    state.select(none, none)
    assert (state.size, state.width) == (0, 0)
    assert decoder.step(torch.empty(0, DIM, dtype=torch.float64), state).shape == (0, DIM)


@torch.no_grad()
def test_memories_may_all_be_empty() -> None:
    decoder = make_decoder()
    (memory,), offsets = draw(0, (0, 0))
    check_steps(decoder, memory, offsets)


def test_rows_that_sentences_cannot_share_are_refused() -> None:
    decoder = make_decoder()
    (memory,), offsets = draw(0)
    state = decoder.start(memory, offsets)
    with pytest.raises(ValueError, match=r"multiple of the sentences \(3\), got 4 rows"):
        state.select(torch.tensor([0, 0, 1, 2]))
    with pytest.raises(ValueError, match=r"multiple of the sentences \(0\), got 1 rows"):
        state.select(torch.tensor([0]), torch.empty(0, dtype=torch.int64))


def test_another_number_of_rows_is_refused() -> None:
    decoder = make_decoder()
    (memory,), offsets = draw(0)
    with pytest.raises(ValueError, match=r"y must have shape \(R = 3, D = 4\), got \(2, 4\)"):
        decoder.step(torch.zeros(2, DIM, dtype=torch.float64), decoder.start(memory, offsets))


@torch.no_grad()
def test_a_step_beyond_the_learned_table_is_refused() -> None:
    decoder = Decoder(DIM, 1, 2, position="learned", max_length=2)
    memory, offsets = torch.randn(1, DIM), torch.tensor([0, 1])
    state = decoder.start(memory, offsets)
    for _ in range(2):
        decoder.step(memory, state)
    with pytest.raises(ValueError, match=r"\(max_length=2\), got 3 positions"):
        decoder.step(memory, state)
