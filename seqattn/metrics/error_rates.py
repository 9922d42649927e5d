"""Error rates: edits per symbol of the reference."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from torch import Tensor

from seqattn.layers.slots import require_choice
from seqattn.metrics.sequences import SequenceMetric, Text, string_of, words_of

Unit = Literal["token", "word", "character"]


class ErrorRate(SequenceMetric):
    """Edits that turn predictions into their references, per symbol of the references.

    An edit inserts, deletes or replaces one symbol (Levenshtein). Of several alternatives the one
    at the least distance counts, the longest of these. Where the references hold no symbol at
    all, the rate is the number of edits, as in jiwer.

    Args:
        unit: ``word``: what white space separates, or the tokens of a list; ``character``: of the
            string without white space at its ends, or of the tokens joined by spaces; ``token``:
            those of lists, and strings are refused.

    Raises:
        ValueError: if `unit` is unknown.
    """

    higher_is_better = False

    def __init__(self, unit: Unit = "word") -> None:
        super().__init__()
        require_choice("unit", unit, ("token", "word", "character"))
        self.unit = unit
        self._add_counts(f"{unit}_edits", 3)

    def count(self, prediction: Text, references: Sequence[Text]) -> list[int]:
        """Return the edits, the symbols of the reference, and 1."""
        symbols = self._split(prediction)
        pairs = []
        for reference in references:
            wanted = self._split(reference)
            pairs.append((edit_distance(symbols, wanted), -len(wanted)))
        edits, length = min(pairs)
        return [edits, -length, 1]

    def _split(self, text: Text) -> Sequence[str]:
        if self.unit == "word":
            return words_of(text)
        if self.unit == "character":
            return string_of(text).strip()
        if isinstance(text, str):
            raise TypeError(f"unit 'token' needs lists of tokens, got the string {text!r}")
        return text

    def compute(self) -> Tensor:
        """Return the rate, () from 0 on, above 1 where much is inserted; NaN without an example."""
        edits, symbols, examples = self.counts.unbind()
        return (edits / symbols.clamp(min=1)).where(examples > 0, torch.nan)


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return the least number of insertions, deletions and replacements between two sequences.

    Myers (1999) in the form of Hyyrö (2001): a column of the table is two bit vectors, here
    Python's integers, so that a symbol costs a few operations on all rows at once.
    """
    if not one:
        return len(other)
    places: dict[Hashable, int] = {}
    for row, symbol in enumerate(one):
        places[symbol] = places.get(symbol, 0) | 1 << row
    everything, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = everything, 0, len(one)
    for symbol in other:
        equal = places.get(symbol, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        up = falls | ~(diagonal | rises) & everything
        down = diagonal & rises
        distance += bool(up & last) - bool(down & last)
        up = up << 1 | 1
        rises = (down << 1 | ~(diagonal | up)) & everything
        falls = up & diagonal & everything
    return distance
