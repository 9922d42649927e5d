"""Greedy decoding and sampling over a step function that names no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
"""Symbols (B,) of the next position to the logits (B, V) of the one after; remembers the rest."""


def generate(
    step: Step,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    max_length: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generators: Sequence[torch.Generator] | None = None,
    device: torch.device | str = "cpu",
) -> list[list[int]]:
    """Return the symbols that follow each prompt, without the end symbol.

    Prompts of any lengths go side by side: a sequence whose prompt has not ended yet reads its
    prompt, the others what they wrote.

    Args:
        step: reads one symbol of every sequence, gives the scores of the next.
        prompts: at least one symbol each.
        end: the symbol that ends a sequence.
        max_length: symbols written at most.
        temperature: 0 takes the best symbol; above it, divides the logits before sampling.
        top_k: sample among the k best only (Fan et al. 2018).
        top_p: sample among the best that together have this probability (Holtzman et al. 2020).
        generators: source of randomness of each sequence; torch's global one by default.
        device: of the symbols handed to `step`.

    Raises:
        ValueError: if a prompt is empty or a setting out of its range.
    """
    _check_settings(prompts, max_length, temperature, top_k, top_p)
    written: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    symbols = [prompt[0] for prompt in prompts]
    position = 0
    while not all(ended):
        logits = step(torch.tensor(symbols, device=device))
        chosen = choose(logits, temperature, top_k, top_p, generators).tolist()
        position += 1
        for index, prompt in enumerate(prompts):
            if position < len(prompt):
                symbols[index] = prompt[position]
                continue
            symbols[index] = chosen[index]
            if not ended[index] and chosen[index] != end:
                written[index].append(chosen[index])
            ended[index] |= chosen[index] == end or len(written[index]) >= max_length
    return written


def choose(
    logits: Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generators: Sequence[torch.Generator] | None = None,
) -> Tensor:
    """Return one symbol per row: the best, or one drawn from the cut distribution.

    With a generator per row, what a row draws does not depend on the others.

    Shape:
        logits (B, V). returns: (B,) int64.
    """
    if temperature == 0:
        return logits.argmax(-1)
    scores = logits.float() / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        lowest = scores.topk(top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < lowest, -torch.inf)
    if top_p is not None:
        scores = _keep_nucleus(scores, top_p)
    shares = scores.softmax(-1)
    if generators is None:
        return torch.multinomial(shares, 1)[:, 0]
    drawn = [
        torch.multinomial(row, 1, generator=generator)
        for row, generator in zip(shares, generators, strict=True)
    ]
    return torch.cat(drawn) if drawn else shares.new_empty(0, dtype=torch.int64)


def _keep_nucleus(scores: Tensor, top_p: float) -> Tensor:
    ordered, places = scores.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    beyond = shares.cumsum(-1) - shares >= top_p  # the first symbol always stays
    return scores.masked_fill(beyond.gather(-1, places.argsort(-1)), -torch.inf)


def _check_settings(
    prompts: Sequence[Sequence[int]],
    max_length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in 0 … 1, got {top_p}")
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {index} must hold at least one symbol, got none")
