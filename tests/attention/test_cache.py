from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqattn.attention.cache import AttentionCache

HEADS, KEY, VALUE = 2, 3, 5


def empty_cache(size: int, capacity: int = 2) -> AttentionCache:
    return AttentionCache(
        torch.empty(capacity, size, HEADS, KEY), torch.empty(capacity, size, HEADS, VALUE)
    )


def draw(size: int) -> tuple[Tensor, Tensor]:
    return torch.randn(size, HEADS, KEY), torch.randn(size, HEADS, VALUE)


def test_what_is_appended_is_kept_when_the_capacity_is_passed():
    cache = empty_cache(4)
    given = [draw(4) for _ in range(5)]
    for key, value in given:
        keys, values = cache.append(key, value)
    assert torch.equal(keys, torch.stack([key for key, _ in given], dim=2))
    assert torch.equal(values, torch.stack([value for _, value in given], dim=2))


@pytest.mark.parametrize("seed", range(5))
def test_selections_are_those_of_the_plain_tensors_whatever_their_sizes(seed):
    generator = torch.Generator().manual_seed(seed)
    cache, size = empty_cache(3), 3
    expected = torch.empty(3, HEADS, 0, KEY), torch.empty(3, HEADS, 0, VALUE)
    for _ in range(9):
        given = draw(size)
        found = cache.append(*given)
        expected = tuple(
            torch.cat([old, new[:, :, None]], 2) for old, new in zip(expected, given, strict=True)
        )
        assert all(map(torch.equal, found, expected))
        kept = int(torch.randint(0, 7, (), generator=generator)) if size else 0
        rows = torch.randint(0, max(size, 1), (kept,), generator=generator)
        cache.select(rows)
        expected = tuple(part[rows] for part in expected)
        size = kept


def test_a_selection_leaves_the_gradients_behind():
    cache = empty_cache(2)
    cache.append(*(part.requires_grad_() for part in draw(2)))
    cache.select(torch.tensor([1]))
    assert not cache.keys.requires_grad
