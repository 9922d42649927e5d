"""What a search asks of a model, what it gives back, and how far it may go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from seqattn.errors import DataError


class Stepper(Protocol):
    """A model that writes symbol by symbol, and remembers what it has read.

    It holds R = B W rows, of B sentences with W hypotheses each: row r belongs to sentence
    r // W. It starts with one row per sentence.
    """

    def step(self, symbols: Tensor) -> Tensor:
        """Read the next symbol of each row, and return the logits of the one after.

        A symbol that cannot come may have the logit -inf.

        Shape:
            symbols (R,) int64. returns: (R, V).
        """

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Keep these rows and these sentences, in this order, repeated or not.

        Args:
            rows: what each new row goes on from.
            sentences: those that remain; None for all as they are.

        Shape:
            rows (R',) int64; sentences (B',) int64.
        """


@dataclass(frozen=True)
class Hypothesis:
    """One sequence that a search has written.

    Args:
        symbols: without BEGIN and END.
        score: natural logarithm of its probability, END's among it, as the search weighs it.
        finished: whether END came.
    """

    symbols: list[int]
    score: float
    finished: bool


@dataclass(frozen=True)
class Limits:
    """What a search may write; made by :meth:`of`, which checks it."""

    end: int
    max_lengths: list[int]
    min_length: int
    banned: Tensor
    keys: Sequence[str] | None

    @classmethod
    def of(
        cls,
        begin: Tensor,
        end: int,
        max_length: int | Tensor,
        min_length: int,
        banned: Sequence[int],
        keys: Sequence[str] | None,
    ) -> Self:
        """Return the limits of B sentences.

        Shape:
            begin (B,); max_length (B,) where it is a tensor.

        Raises:
            ValueError: if lengths, banned symbols or keys do not fit each other or the sentences.
        """
        size = len(begin)
        limits = max_length.tolist() if isinstance(max_length, Tensor) else [max_length] * size
        if len(limits) != size:
            raise ValueError(f"max_length must have one number per sentence ({size}), got {limits}")
        shortest = min(limits, default=1 if isinstance(max_length, Tensor) else max_length)
        if shortest < 1:
            raise ValueError(f"max_length must be at least 1, got {shortest}")
        if not 0 <= min_length <= shortest:
            raise ValueError(
                f"min_length must lie in 0 … max_length = {shortest}, got {min_length}"
            )
        if end in banned:
            raise ValueError(f"banned must not hold the end symbol {end}, got {list(banned)}")
        if keys is not None and len(keys) != size:
            raise ValueError(f"keys must have one per sentence ({size}), got {len(keys)}")
        return cls(end, limits, min_length, begin.new_tensor(list(banned)), keys)

    def hidden(self, written: int) -> Tensor:
        """Return the symbols that may not come after `written` ones (N,)."""
        if written >= self.min_length:
            return self.banned
        return torch.cat([self.banned, self.banned.new_tensor([self.end])])

    def log_probs(self, logits: Tensor, sentences: Sequence[int], step: int) -> Tensor:
        """Return the logarithm of each symbol's probability, in float32 at least.

        Args:
            logits: of R rows, of as many sentences as there are numbers.
            sentences: the number of each sentence in the search's input.
            step: counted from 0.

        Shape:
            logits (R, V). returns: (R, V).

        Raises:
            DataError: if a row holds NaN or +inf, or nothing but -inf; names step and sentence.
        """
        found = in_full_precision(logits).log_softmax(-1)
        is_bad = found.amax(-1).isnan()  # each of the three gives NaN
        if bool(is_bad.any()):
            row = int(is_bad.nonzero()[0, 0])
            number = sentences[row * len(sentences) // len(logits)]
            values = logits[row]
            wrong = values[values.isnan() | values.isposinf()]
            value = float(wrong[0]) if len(wrong) else -torch.inf
            key = None if self.keys is None else self.keys[number]
            raise DataError(
                f"logits must be finite, got {value} at step {step} of sentence {number}", key=key
            )
        return found


def in_full_precision(logits: Tensor) -> Tensor:
    """Return logits in float32 at least: sums over steps in less would lose the smaller ones."""
    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def normalise(score: float, length: int, length_penalty: float) -> float:
    """Return a sum of log-probabilities divided by the length's power: `score / length ** penalty`.

    The normalisation of Jean et al. (2015), as in fairseq and transformers; `length` counts END.
    """
    return score if length_penalty == 0 or math.isinf(score) else score / length**length_penalty
