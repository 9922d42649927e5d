from __future__ import annotations

from typing import Any

import pytest
import torch

from seqattn.generation.sampling import choose, generate

END = 0


def count_up(symbols: torch.Tensor) -> torch.Tensor:
    """Scores that favour the next number; after 4 the end."""
    following = torch.where(symbols >= 4, END, symbols + 1)
    return torch.nn.functional.one_hot(following, 6).float()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_each_prompt_goes_on_to_its_end() -> None:
    found = generate(count_up, [[1], [5, 5, 2], [4]], end=END, max_length=9)
    assert found == [[2, 3, 4], [3, 4], []]


def test_nothing_is_written_beyond_max_length() -> None:
    found = generate(count_up, [[1], [9, 9, 9, 1], [3]], end=END, max_length=2)
    assert found == [[2, 3], [2, 3], [4]]


def test_no_prompts_give_no_continuations() -> None:
    assert generate(count_up, [], end=END, max_length=3) == []


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must not be negative, got -1.0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must lie in 0 … 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must lie in 0 … 1, got 1.1"),
        ({"prompts": [[1], []]}, "prompt 1 must hold at least one symbol, got none"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], rule: str) -> None:
    arguments: dict[str, Any] = {"prompts": [[1]], "end": END, "max_length": 1, **settings}
    with pytest.raises(ValueError, match=rule):
        generate(count_up, **arguments)


LOGITS = torch.tensor([0.5, 0.3, 0.2]).log()


def shares(count: int = 20_000, **settings: Any) -> list[float]:
    """How often each symbol is drawn."""
    torch.manual_seed(1)
    drawn = choose(LOGITS.expand(count, 3), **settings)
    return (drawn.bincount(minlength=3) / count).tolist()


def test_temperature_zero_takes_the_best() -> None:
    assert choose(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),  # squared, normalised
        ({"temperature": 1.0, "top_k": 2}, [0.625, 0.375, 0.0]),
        ({"temperature": 1.0, "top_k": 9}, [0.5, 0.3, 0.2]),
        ({"temperature": 1.0, "top_p": 0.6}, [0.625, 0.375, 0.0]),  # 0.5 does not reach 0.6
        ({"temperature": 1.0, "top_p": 0.4}, [1.0, 0.0, 0.0]),
        ({"temperature": 1.0, "top_p": 1.0}, [0.5, 0.3, 0.2]),
    ],
)
def test_sampling_follows_the_cut_distribution(
    settings: dict[str, Any], expected: list[float]
) -> None:
    assert shares(**settings) == pytest.approx(expected, abs=0.015)  # 4 standard deviations


def test_the_nucleus_is_kept_in_its_places_when_logits_are_not_sorted() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log().expand(500, 4)
    assert set(choose(logits, 1.0, top_p=0.8).tolist()) == {1, 3}


def test_a_rows_draw_depends_on_its_own_generator_only() -> None:
    flat = torch.zeros(3, 50)
    together = choose(flat, 1.0, generators=generators(1, 2, 3)).tolist()
    alone = [choose(flat[:1], 1.0, generators=generators(seed)).item() for seed in (1, 2, 3)]
    assert together == alone
