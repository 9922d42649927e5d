"""The floor for character language models: counts of n-grams, on the task's own splits.

    python -m benchmarks.ngram --split test

The model is modified Kneser-Ney, interpolated: Chen and Goodman, "An empirical study of smoothing
techniques for language modeling" (1999), section 3. It is counted on whole modules of the training
split and measured twice: on each chunk alone, which begins with no history, as for a neural model
that sees only its chunk; and on whole modules, where every history is known.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from seqattn import Example
from tasks.python_language_model import PythonSource

Ids = NDArray[np.int64]
Numbers = NDArray[np.float64]


_FALLBACK = (0.0, 0.5, 1.0, 1.5)  # discounts where counts of counts give none, as in KenLM


@dataclass(frozen=True)
class _Level:
    """Discounted counts of one order n: n-grams after their histories of n - 1 characters.

    Args:
        grams: codes of the n-grams, ascending. Shape: (G,).
        masses: how often each was seen, less its discount. Shape: (G,).
        histories: codes of the histories, ascending. Shape: (C,).
        totals: sum of counts after each history, discounts included. Shape: (C,).
        freed: sum of discounts after each history, for the order below. Shape: (C,).
    """

    grams: Ids
    masses: Numbers
    histories: Ids
    totals: Ids
    freed: Numbers

    @classmethod
    def of(cls, grams: Ids, counts: Ids, size: int) -> Self:
        """Make the level of n-grams with these codes, ascending, and counts."""
        discounts = discounts_of(counts)[np.minimum(counts, 3)]
        histories, starts = np.unique(grams // size, return_index=True)
        if not len(grams):
            return cls(grams, discounts, histories, counts, discounts)
        totals = np.add.reduceat(counts, starts)
        return cls(grams, counts - discounts, histories, totals, np.add.reduceat(discounts, starts))

    def interpolate(self, codes: Ids, lower: Numbers, size: int) -> Numbers:
        """Return the probability of each n-gram's last character after the others.

        Args:
            codes: the n-grams. Shape: (N,).
            lower: the same after the shorter history; kept where the longer was never seen.
                Shape: (N,).
            size: signs of the alphabet.
        """
        row, is_known = _find(self.histories, codes // size)
        gram, was_seen = _find(self.grams, codes[is_known])
        row, result = row[is_known], lower.copy()
        own = np.where(was_seen, self.masses[gram], 0.0) if len(row) else np.empty(0)
        result[is_known] = (own + self.freed[row] * lower[is_known]) / self.totals[row]
        return result


def discounts_of(counts: Ids) -> Numbers:
    """Return what to take from a count of 0, 1, 2, and 3 or more, as in the paper.

    Shape:
        counts: (G,). Returns (4,), the first 0; fixed values where the estimate does not exist.
    """
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array(_FALLBACK)
    share = n1 / (n1 + 2 * n2)
    estimates = [k - (k + 1) * share * b / a for k, a, b in ((1, n1, n2), (2, n2, n3), (3, n3, n4))]
    is_sound = all(0.0 < estimate <= k for k, estimate in enumerate(estimates, start=1))
    return np.array([0.0, *estimates] if is_sound else _FALLBACK)


class NgramModel:
    """Gives every character its probability after the `order` - 1 characters before it.

    The alphabet is the characters of the training texts and one sign for all others. Where a text
    begins, the history is shorter, and the model is that of the lower order: its counts are then
    true counts, and not, as below a longer history, numbers of different characters before.

    Args:
        texts: training texts; no n-gram reaches over the end of one.
        order: n, the length of the longest n-gram.

    Raises:
        ValueError: if `order` is below 1, or so high that an n-gram has no 63-bit code.
    """

    def __init__(self, texts: Sequence[str], order: int) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        self.alphabet = {letter: i + 1 for i, letter in enumerate(sorted(set().union(*texts)))}
        self.size = size = len(self.alphabet) + 1  # 0 is the sign for all others
        if size**order >= 2**63:
            raise ValueError(f"order must keep {size}**order below 2**63, got {order}")
        ids, positions = self._encode(texts)
        grams = [
            np.unique(self._codes(ids, positions, n)[1], return_counts=True)
            for n in range(1, order + 1)
        ]
        # How many different characters come before an n-gram: its extensions by one on the left.
        before = [np.unique(grams[n][0] % size**n, return_counts=True) for n in range(1, order)]
        self._longest = [_Level.of(codes, counts, size) for codes, counts in grams]
        self._shorter = [_Level.of(codes, counts, size) for codes, counts in before]

    def probabilities(self, texts: Sequence[str]) -> Numbers:
        """Return the probability of every character, each text beginning without a history.

        Shape:
            returns: (T,), the texts one after the other.
        """
        ids, positions = self._encode(texts)
        result = np.full(len(ids), 1.0 / self.size)
        for n in range(1, self.order + 1):
            places, codes = self._codes(ids, positions, n)
            is_longest = (positions[places] == n - 1) | (n == self.order)
            for levels, chosen in ((self._longest, is_longest), (self._shorter, ~is_longest)):
                if chosen.any():
                    rows = places[chosen]
                    level = levels[n - 1]
                    result[rows] = level.interpolate(codes[chosen], result[rows], self.size)
        return result

    def bits_per_character(self, texts: Sequence[str]) -> float:
        """Return the mean of -log2 of the probabilities.

        Raises:
            ValueError: if there is no character.
        """
        probabilities = self.probabilities(texts)
        if not len(probabilities):
            raise ValueError("texts must hold at least one character, got none")
        return float(-np.log2(probabilities).mean())

    def _encode(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the id of every character, and its place in its own text. Shape: (T,) each."""
        ids = [self.alphabet.get(letter, 0) for text in texts for letter in text]
        places = [np.arange(len(text), dtype=np.int64) for text in texts]
        return np.array(ids, dtype=np.int64), np.concatenate([np.empty(0, np.int64), *places])

    def _codes(self, ids: Ids, positions: Ids, n: int) -> tuple[Ids, Ids]:
        """Return where the n-grams end, and their codes: numbers of n digits. Shape: (N,) each."""
        places = np.flatnonzero(positions >= n - 1)
        codes = np.zeros(len(places), dtype=np.int64)
        for back in range(n - 1, -1, -1):
            codes = codes * self.size + ids[places - back]
        return places, codes


def _find(ordered: Ids, wanted: Ids) -> tuple[Ids, NDArray[np.bool_]]:
    """Return a row for each wanted code, and whether it is the right one."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    rows = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return rows, ordered[rows] == wanted


def join_modules(chunks: Iterable[Example]) -> list[str]:
    """Return the text of each module from its consecutive chunks, whose keys name it."""
    texts: dict[str, list[str]] = {}
    for chunk in chunks:
        texts.setdefault(chunk.key.rpartition(":")[0], []).append(chunk.source)
    return ["".join(parts) for parts in texts.values()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Count the training split, measure another, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ngram", description=__doc__)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--fraction", type=float, default=1.0, help="part of the train modules")
    parser.add_argument("--chunk", type=int, default=256, help="characters of a chunk")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    train = join_modules(PythonSource("train", fraction=options.fraction).read())
    chunks = list(PythonSource(options.split, chunk=options.chunk).read())
    alone, whole = [chunk.source for chunk in chunks], join_modules(chunks)
    model = NgramModel(train, options.order)
    unknown = sum(letter not in model.alphabet for text in whole for letter in text)
    print(f"modified Kneser-Ney, order {model.order}, Python {platform.python_version()}")
    print(f"train: {sum(map(len, train))} characters, {len(model.alphabet)} different")
    print(f"{options.split}: {sum(map(len, whole))} characters, {unknown} of them not in train")
    print(f"{model.bits_per_character(alone):.4f} bits per character, chunks of {options.chunk}")
    print(f"{model.bits_per_character(whole):.4f} bits per character, whole modules")
    print(f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
