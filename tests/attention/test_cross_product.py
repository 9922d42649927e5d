"""The kernels of cross-attention against the formula, one sequence after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_oracle import assert_same_function
from torch import Tensor

from seqattn import Packing, attend
from seqattn.attention.cross_product import cross_attention
from seqattn.attention.pairs import Pairs

SIZES = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(st.integers(0, 9), st.integers(30, 60))), max_size=5
)


def random_sides(sizes: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor, Pairs]:
    """Return query, key and value of two heads in float64, which want gradients; the pairs."""
    lengths, memory = ([size[side] for size in sizes] for side in (0, 1))
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(total, 2, width, generator=generator, dtype=torch.float64).requires_grad_()
        for total, width in ((sum(lengths), 4), (sum(memory), 4), (sum(memory), 3))
    )
    return query, key, value, Pairs.of(Packing.from_lengths(lengths), Packing.from_lengths(memory))


def reference(query: Tensor, key: Tensor, value: Tensor, pairs: Pairs, **score: Any) -> Tensor:
    parts = [
        x.split(list(packing.lengths))
        for x, packing in ((query, pairs.queries), (key, pairs.memory), (value, pairs.memory))
    ]
    outputs = [value.new_zeros(0, 2, 3) + query[:0].sum() + key[:0].sum() + value[:0].sum()]
    for own in zip(*parts, strict=True):
        out, _ = attend(*(x.transpose(0, 1) for x in own), **score)
        outputs.append(out.transpose(0, 1))
    return torch.cat(outputs)


@settings(max_examples=20)
@given(SIZES)
def test_dot_product_equals_the_reference(sizes: list[tuple[int, int]]) -> None:
    *sides, pairs = random_sides(sizes)
    out = cross_attention(*sides, pairs, scale=0.5)
    assert_same_function(out, reference(*sides, pairs, scale=0.5), tuple(sides))


@settings(max_examples=20)
@given(SIZES)
def test_additive_score_equals_the_reference(sizes: list[tuple[int, int]]) -> None:
    *sides, pairs = random_sides(sizes)
    vector = torch.randn(2, 4, dtype=torch.float64).requires_grad_()
    out = cross_attention(*sides, pairs, scale=0.5, score_vector=vector)
    expected = reference(*sides, pairs, score="additive", score_vector=vector)
    assert_same_function(out, expected, (*sides, vector))


@pytest.mark.parametrize("sizes", [[(3, 300), (2, 260), (1, 0)], [(270, 4), (256, 3)]])
def test_long_sides_equal_the_reference(sizes: list[tuple[int, int]]) -> None:
    *sides, pairs = random_sides(sizes)
    out = cross_attention(*sides, pairs, scale=0.5)
    assert_same_function(out, reference(*sides, pairs, scale=0.5), tuple(sides))


def test_gradients_pass_gradcheck() -> None:
    *sides, pairs = random_sides([(2, 3), (1, 1), (2, 0), (0, 2)])
    assert torch.autograd.gradcheck(lambda *x: cross_attention(*x, pairs, scale=0.5), sides)


def test_an_empty_memory_gives_zeros_and_zero_gradients() -> None:
    *sides, pairs = random_sides([(2, 0), (1, 2)])
    out = cross_attention(*sides, pairs, scale=0.5)
    out.sum().backward()
    assert not out[:2].any()
    assert out[2].any()
    assert sides[0].grad is not None
    assert not sides[0].grad[:2].any()
    assert sides[0].grad.isfinite().all()


@pytest.mark.parametrize("is_additive", [False, True])
def test_weights_are_dropped_at_the_given_rate(is_additive: bool) -> None:
    length = 60
    pairs = Pairs.of(Packing.from_lengths([length]), Packing.from_lengths([length]))
    query = torch.zeros(length, 1, 2)
    value = torch.eye(length)[:, None].requires_grad_()  # the output is the weights
    vector = torch.zeros(1, 2) if is_additive else None
    out = cross_attention(query, query, value, pairs, scale=1.0, score_vector=vector, dropout=0.25)
    assert (out != 0).double().mean().item() == pytest.approx(0.75, abs=0.05)
    assert out[out != 0].mean().item() == pytest.approx(1 / length / 0.75, rel=0.02)
    out.sum().backward()
    assert value.grad is not None
    torch.testing.assert_close(value.grad.sum(), out.sum() * length, rtol=1e-5, atol=0)


def test_a_kernel_that_cannot_compute_this_is_refused() -> None:
    *sides, pairs = random_sides([(1, 1)])
    with pytest.raises(ValueError, match="kernel='varlen' cannot .* needs CUDA and half precision"):
        cross_attention(*sides, pairs, scale=1.0, kernel="varlen")


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [[(3, 5), (0, 2), (2, 0), (7, 1)], [(300, 40), (20, 270)]])
def test_flash_attention_equals_the_reference_in_half_precision(
    sizes: list[tuple[int, int]],
) -> None:
    lengths, memory = ([size[side] for size in sizes] for side in (0, 1))
    sides = [torch.randn(sum(n), 2, 16) for n in (lengths, memory, memory)]
    host = Pairs.of(Packing.from_lengths(lengths), Packing.from_lengths(memory))
    device = Pairs.of(host.queries.to("cuda"), host.memory.to("cuda"))
    half = [x.cuda().bfloat16() for x in sides]
    out = cross_attention(*half, device, scale=0.25, kernel="varlen")
    expected = cross_attention(*sides, host, scale=0.25)
    torch.testing.assert_close(out.cpu().float(), expected, rtol=0.03, atol=0.03)
