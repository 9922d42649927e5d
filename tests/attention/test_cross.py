"""Multi-head cross-attention as a module: its formula, its steps, its sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seqattn import Packing, attend
from seqattn.attention.cross import CrossAttention
from seqattn.attention.pairs import Pairs

LENGTHS, MEMORY = (2, 3, 1), (4, 1, 2)


def make(**options: Any) -> CrossAttention:
    made = CrossAttention(6, 3, **options).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def draw(memory: tuple[int, ...] = MEMORY) -> tuple[Tensor, Tensor, Pairs]:
    pairs = Pairs.of(Packing.from_lengths(LENGTHS), Packing.from_lengths(memory))
    x, read = (torch.randn(sum(n), 6, dtype=torch.float64) for n in (LENGTHS, memory))
    return x, read, pairs


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_output_is_the_formula_with_the_layers_matrices(score: Any) -> None:
    cross = make(score=score, head_dim=4, value_dim=5)
    x, memory, pairs = draw()
    query = (x @ cross.project_query.weight.T + cross.project_query.bias).view(-1, 3, 4)
    both = memory @ cross.project_memory.weight.T + cross.project_memory.bias
    key, value = both[:, :12].view(-1, 3, 4), both[:, 12:].view(-1, 3, 5)

    parts = []
    sides = [query.split(LENGTHS), key.split(MEMORY), value.split(MEMORY)]
    for own in zip(*sides, strict=True):
        mixed, _ = attend(
            *(part.transpose(0, 1) for part in own), score=score, score_vector=cross.score_vector
        )
        parts.append(mixed.transpose(0, 1).flatten(1))
    expected = torch.cat(parts) @ cross.project_out.weight.T + cross.project_out.bias

    torch.testing.assert_close(cross(x, memory, pairs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("lengths", [MEMORY, (4, 0, 2)])
def test_steps_of_several_rows_share_their_sentences_keys(score: Any, lengths: Any) -> None:
    cross = make(score=score)
    memory = torch.randn(sum(lengths), 6, dtype=torch.float64)
    packing = Packing.from_lengths(lengths)
    x = torch.randn(3 * 2, 6, dtype=torch.float64)
    cache = cross.start(memory, packing)

    out = cross.step(x, cache)

    assert len(cache.keys) == 3
    expected = cross(x, memory, Pairs.of(Packing.from_lengths([2, 2, 2]), packing))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


def test_select_keeps_the_sentences_in_their_order() -> None:
    cross = make()
    _, memory, pairs = draw()
    x = torch.randn(3, 6, dtype=torch.float64)
    whole, cache = (cross.start(memory, pairs.memory) for _ in range(2))
    cache.select(torch.tensor([2, 0]))
    found = cross.step(x[[2, 0]], cache)
    torch.testing.assert_close(found, cross.step(x, whole)[[2, 0]], rtol=0, atol=1e-12)


def test_dropout_acts_in_training_only() -> None:
    cross = make(dropout=0.9)
    x, memory, pairs = draw()
    assert not torch.equal(cross(x, memory, pairs), cross(x, memory, pairs))
    cross.eval()
    assert torch.equal(cross(x, memory, pairs), cross(x, memory, pairs))


def test_heads_must_divide_dim_when_head_dim_is_not_given() -> None:
    with pytest.raises(
        ValueError, match="heads must divide dim unless head_dim is given, got 4, 6"
    ):
        CrossAttention(6, 4)
    assert CrossAttention(6, 4, head_dim=5).value_dim == 5
