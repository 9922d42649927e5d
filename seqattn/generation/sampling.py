"""Greedy search and sampling over a step function that names no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seqattn.generation.stepper import Hypothesis, Limits, Stepper, in_full_precision

Choice = Callable[[Tensor, Sequence[int]], Tensor]
"""Logits (R, V), and the number of each row's sentence, to a symbol per row (R,)."""


@torch.no_grad()
def greedy_search(
    stepper: Stepper,
    begin: Tensor,
    *,
    end: int,
    max_length: int | Tensor,
    min_length: int = 0,
    banned: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] | None = None,
    keys: Sequence[str] | None = None,
) -> list[list[Hypothesis]]:
    """Return one hypothesis of each sentence, of the best symbol at every step.

    Args:
        stepper: the model, with one row per sentence.
        begin: first symbol that each sentence reads. Shape: (B,) int64.
        end: the symbol that ends a hypothesis; may be the one that begins it.
        max_length: symbols written at most, END among them; of all or of each sentence (B,). Who
            gets there without END is not finished.
        min_length: symbols at least, END not among them.
        banned: symbols never written. Scores remain the model's.
        prefixes: what each sentence reads after `begin`, before it writes.
        keys: of the sentences, for error messages.

    Raises:
        ValueError: if a setting is out of its range.
        DataError: if a logit is NaN or +inf; names step and sentence.
    """
    limits = Limits.of(begin, end, max_length, min_length, banned, keys)
    return _write(stepper, begin, limits, prefixes, lambda logits, _: choose(logits))


@torch.no_grad()
def sample(
    stepper: Stepper,
    begin: Tensor,
    *,
    end: int,
    max_length: int | Tensor,
    min_length: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generators: Sequence[torch.Generator] | None = None,
    banned: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] | None = None,
    keys: Sequence[str] | None = None,
) -> list[list[Hypothesis]]:
    """Return one hypothesis of each sentence, its symbols drawn from their probabilities.

    Its score is by the model's own probabilities, whatever the temperature and the cuts.

    Args:
        stepper: as in :func:`greedy_search`, and so are the arguments not named here.
        begin: first symbol that each sentence reads. Shape: (B,) int64.
        end: the symbol that ends a hypothesis.
        max_length: symbols written at most, END among them.
        min_length: symbols at least, END not among them.
        temperature: divides the logits; 0 takes the best symbol.
        top_k: sample among the k best only (Fan et al. 2018).
        top_p: sample among the best that together have this probability (Holtzman et al. 2020).
        generators: source of randomness of each sentence; torch's global one by default.
        banned: symbols never written.
        prefixes: what each sentence reads after `begin`, before it writes.
        keys: of the sentences, for error messages.

    Raises:
        ValueError: if a setting is out of its range.
        DataError: if a logit is NaN or +inf; names step and sentence.
    """
    _check_sampling(temperature, top_k, top_p)
    if generators is not None and len(generators) != len(begin):
        sizes = f"({len(begin)}), got {len(generators)}"
        raise ValueError(f"generators must have one per sentence {sizes}")

    def draw(logits: Tensor, numbers: Sequence[int]) -> Tensor:
        own = None if generators is None else [generators[number] for number in numbers]
        return choose(logits, temperature, top_k, top_p, own)

    limits = Limits.of(begin, end, max_length, min_length, banned, keys)
    return _write(stepper, begin, limits, prefixes, draw)


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
    scores = in_full_precision(logits) / temperature
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


class _Text:
    """What one sentence reads and has written.

    Args:
        prefix: what it reads before it writes.
        limit: symbols written at most.
    """

    def __init__(self, prefix: Sequence[int], limit: int) -> None:
        self.prefix = prefix
        self.limit = limit
        self.symbols: list[int] = []
        self.score = 0.0
        self.finished = False

    @property
    def is_live(self) -> bool:
        return not self.finished and len(self.symbols) < self.limit

    def read(self, step: int, symbol: int, score: float, end: int) -> int:
        """Return the symbol that it reads next, the chosen one or its prefix's."""
        if step < len(self.prefix):
            return self.prefix[step]
        self.score += score
        self.finished = symbol == end
        if not self.finished:
            self.symbols.append(symbol)
        return symbol


def _write(
    stepper: Stepper,
    begin: Tensor,
    limits: Limits,
    prefixes: Sequence[Sequence[int]] | None,
    choice: Choice,
) -> list[list[Hypothesis]]:
    """Return what each sentence writes; one that has stopped leaves the batch."""
    prefixes = [()] * len(begin) if prefixes is None else prefixes
    if len(prefixes) != len(begin):
        sizes = f"({len(begin)}), got {len(prefixes)}"
        raise ValueError(f"prefixes must have one per sentence {sizes}")
    texts = [_Text(*parts) for parts in zip(prefixes, limits.max_lengths, strict=True)]
    live, symbols, step = list(range(len(begin))), begin, 0
    while live:
        log_probs = limits.log_probs(stepper.step(symbols), live, step)  # (R, V)
        written = begin.new_tensor([len(texts[number].symbols) for number in live])
        chosen = choice(_without_hidden(log_probs, limits, written), live)
        gained = log_probs.gather(1, chosen[:, None])[:, 0].tolist()
        following = [
            texts[number].read(step, symbol, score, limits.end)
            for number, symbol, score in zip(live, chosen.tolist(), gained, strict=True)
        ]
        left = [place for place, number in enumerate(live) if texts[number].is_live]
        if 0 < len(left) < len(live):
            rows = begin.new_tensor(left)
            stepper.select(rows, rows)
        symbols = begin.new_tensor([following[place] for place in left])
        live = [live[place] for place in left]
        step += 1
    return [[Hypothesis(text.symbols, text.score, text.finished)] for text in texts]


def _without_hidden(log_probs: Tensor, limits: Limits, written: Tensor) -> Tensor:
    """Return scores (R, V) by which nothing comes that is banned, nor the end too early."""
    if len(limits.banned):
        log_probs = log_probs.index_fill(1, limits.banned, -torch.inf)
    if not limits.min_length:
        return log_probs
    is_end = torch.arange(log_probs.shape[1], device=log_probs.device) == limits.end
    return log_probs.masked_fill(is_end & (written < limits.min_length)[:, None], -torch.inf)


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in 0 … 1, got {top_p}")
