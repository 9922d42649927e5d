"""A model that is a table, whose sequences can be counted through, for the tests of searches."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

END = 0


class Table:
    """Logits by sentence and the last two symbols: it must be told what each row goes on from.

    Args:
        logits: Shape: (B, V, V, V), by sentence, symbol before the last, last symbol.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.sentences = torch.arange(len(logits))
        self.before = torch.zeros(len(logits), dtype=torch.int64)
        self.sizes: list[tuple[int, int]] = []

    def step(self, symbols: Tensor) -> Tensor:
        self.sizes.append((len(symbols), len(self.sentences)))
        width = len(symbols) // len(self.sentences)
        found = self.logits[self.sentences.repeat_interleave(width), self.before, symbols]
        self.before = symbols
        return found

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        self.before = self.before[rows]
        if sentences is not None:
            self.sentences = self.sentences[sentences]
        assert len(rows) % len(self.sentences) == 0


def random_table(seed: int, sentences: int, vocabulary: int, spread: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (sentences, *[vocabulary] * 3)
    return spread * torch.randn(shape, generator=generator, dtype=torch.float64)


def log_probability(logits: Tensor, begin: int, symbols: list[int]) -> float:
    """Of a sequence, END written out, by the table of one sentence."""
    log_probs = logits.log_softmax(-1)
    states = [0, begin, *symbols]
    return sum(
        float(log_probs[before, last, now])
        for before, last, now in zip(states, states[1:], states[2:], strict=False)
    )


def exhaustive(
    logits: Tensor, begin: int, symbols: list[int], max_length: int, penalty: float = 0.0
) -> list[tuple[float, list[int]]]:
    """All finished sequences of these symbols, END among the length, the best first."""
    found = []
    for length in range(max_length):
        for text in itertools.product(symbols, repeat=length):
            score = log_probability(logits, begin, [*text, END])
            found.append((score / (length + 1) ** penalty, list(text)))
    return sorted(found, key=lambda pair: -pair[0])
