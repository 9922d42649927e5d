"""The reference, applied to one sequence after the other: what every kernel must equal."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from seqattn.attention.patterns import Edges, Pattern
from seqattn.attention.reference import attend

LENGTHS = st.lists(st.one_of(st.integers(0, 6), st.integers(1, 70)), min_size=1, max_size=4)
HEADS = st.sampled_from([1, 2, 3, 5])


def packed_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: list[int],
    *,
    pattern: Pattern,
    scale: float = 0.5,
    slopes: Tensor | None = None,
    positions: Tensor | None = None,
    score_vector: Tensor | None = None,
    edge_index: Tensor | None = None,
    edge_bias: Tensor | None = None,
    edge_multiplier: Tensor | None = None,
) -> Tensor:
    """Return the attention output (T, H, K_value); edges (E,) or (E, H), self-loops not added."""
    outputs, start = [value[:0] + query[:0].sum() + key[:0].sum()], 0
    for length in lengths:
        own = slice(start, start + length)
        q, k, v = (x[own].transpose(0, 1) for x in (query, key, value))  # (H, L, K)
        steps = torch.arange(length)
        mask = torch.ones(length, length, dtype=torch.bool)
        if not isinstance(pattern, Edges):
            mask = pattern.allows(steps[None, :] - steps[:, None])
        bias = torch.zeros(query.shape[1], length, length, dtype=query.dtype)
        if slopes is not None:
            own_positions = steps if positions is None else positions[own]
            gap = (own_positions[None, :] - own_positions[:, None]).abs()
            bias = bias - slopes[:, None, None] * gap
        multiplier = None
        if edge_index is not None:
            chosen = (edge_index[0] >= start) & (edge_index[0] < start + length)
            source, target = edge_index[:, chosen] - start
            if isinstance(pattern, Edges):
                mask = torch.zeros(length, length, dtype=torch.bool)
                mask[target, source] = True
                if pattern.self_loops:
                    mask = mask | torch.eye(length, dtype=torch.bool)
            if edge_bias is not None:
                own_bias = edge_bias[chosen].expand(-1, query.shape[1]).T
                bias = bias.index_put(
                    (torch.arange(query.shape[1])[:, None], target, source), own_bias, True
                )
            if edge_multiplier is not None:
                multiplier = dense_multiplier(edge_multiplier[chosen], source, target, length)
        out, _ = attend(
            q,
            k,
            v,
            score="dot" if score_vector is None else "additive",
            score_vector=score_vector,
            scale=scale,
            mask=mask,
            bias=bias,
            multiplier=multiplier,
        )
        outputs.append(out.transpose(0, 1))
        start += length
    return torch.cat(outputs)


def dense_multiplier(weight: Tensor, source: Tensor, target: Tensor, length: int) -> Tensor:
    """Return the weights as a matrix per head, (H, L, L): 1 on the diagonal without a self-loop."""
    heads = weight.shape[1]
    diagonal = torch.ones(length, dtype=weight.dtype)
    diagonal[target[source == target]] = 0.0
    dense = torch.diag(diagonal).expand(heads, -1, -1)
    return dense.index_put((torch.arange(heads)[:, None], target, source), weight.T, True)


def random_heads(
    lengths: list[int], heads: int = 2, head_dim: int = 4, value_dim: int = 3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value in float64 that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    query, key, value = (
        torch.randn(total, heads, width, generator=generator, dtype=torch.float64).requires_grad_()
        for width in (head_dim, head_dim, value_dim)
    )
    return query, key, value


def random_edges(lengths: list[int], density: float, seed: int = 0) -> Tensor:
    """Return directed edges (2, E) without duplicates, some of them self-loops, unsorted."""
    generator = torch.Generator().manual_seed(seed)
    parts, start = [torch.empty(2, 0, dtype=torch.int64)], 0
    for length in lengths:
        chosen = torch.rand(length, length, generator=generator) < density
        parts.append(chosen.nonzero().T + start)
        start += length
    edges = torch.cat(parts, dim=1)
    return edges[:, torch.randperm(edges.shape[1], generator=generator)]


def assert_same_function(out: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Compare values, and the gradients of a random projection, to 1e-10."""
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    generator = torch.Generator().manual_seed(1)
    probe = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    got = torch.autograd.grad((out * probe).sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad((expected * probe).sum(), inputs, allow_unused=True)
    for x, mine, theirs in zip(inputs, got, wanted, strict=True):
        zero = torch.zeros_like(x)
        torch.testing.assert_close(
            zero if mine is None else mine,
            zero if theirs is None else theirs,
            rtol=1e-9,
            atol=1e-10,
        )
