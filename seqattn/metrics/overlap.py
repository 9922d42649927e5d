"""Overlap with references: BLEU and chrF in n-grams, ROUGE in words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from seqattn.layers.slots import require_choice
from seqattn.metrics.sequences import SequenceMetric, Text, string_of

_BLEU_ORDER = 4
_CHRF_ORDER = 6
_CHRF_BETA = 2  # recall weighs as much as this squared times precision
_ROUGE_UNIT = 1 << 32  # F-measures are summed as integers: exactly, in any order

# mteval-v13a, the tokenisation that published scores are in, as sacrebleu writes it.
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_SPLITS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


class Bleu(SequenceMetric):
    """BLEU of the corpus (Papineni et al. 2002), as sacrebleu gives it (Post 2018), 0 … 100.

    N-grams of 1 to 4 tokens. A precision of 0 is smoothed exponentially (Chen & Cherry 2014,
    method 3). Strings are split as `13a` does, tokens of lists stay as they are. With
    alternatives, n-grams of all of them count, and the length of the one nearest in length.
    """

    def __init__(self) -> None:
        super().__init__()
        self._add_counts("bleu_counts", 2 * _BLEU_ORDER + 3)

    def count(self, prediction: Text, references: Sequence[Text]) -> list[int]:
        """Return 1, both lengths, then n-grams that match and n-grams predicted, by order."""
        tokens = tokenize_13a(prediction)
        wanted = [tokenize_13a(reference) for reference in references]
        nearest = min((abs(len(own) - len(tokens)), len(own)) for own in wanted)[1]
        matched, predicted = [], []
        for order in range(1, _BLEU_ORDER + 1):
            found = ngrams(tokens, order)
            allowed: Counter[Hashable] = Counter()
            for own in wanted:
                allowed |= ngrams(own, order)
            matched.append((found & allowed).total())
            predicted.append(found.total())
        return [1, len(tokens), nearest, *matched, *predicted]

    def compute(self) -> Tensor:
        """Return the score, () in 0 … 100; NaN without an example."""
        examples, length, wanted, *counts = self.counts.tolist()
        score = _bleu(length, wanted, counts[:_BLEU_ORDER], counts[_BLEU_ORDER:])
        return torch.tensor(score if examples else math.nan, device=self.counts.device)


class Chrf(SequenceMetric):
    """F-measure of character n-grams of the corpus (Popović 2015), as sacrebleu gives it, 0 … 100.

    N-grams of 1 to 6 characters without white space; recall weighs twice as much as precision.
    Tokens of lists are joined. Of several alternatives the one with the best measure counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._add_counts("chrf_counts", 3 * _CHRF_ORDER + 1)

    def count(self, prediction: Text, references: Sequence[Text]) -> list[int]:
        """Return 1, then n-grams predicted, of the reference and matched, order by order."""
        found = _characters(prediction)
        candidates = [_chrf_counts(found, _characters(own)) for own in references]
        return [1, *max(candidates, key=_chrf)]

    def compute(self) -> Tensor:
        """Return the score, () in 0 … 100; NaN without an example."""
        examples, *counts = self.counts.tolist()
        score = _chrf(counts) if examples else math.nan
        return torch.tensor(score, device=self.counts.device)


class Rouge(SequenceMetric):
    """Mean over examples of ROUGE's F-measure (Lin 2004): 2 P R / (P + R), precision and recall.

    ``1``: of the words in common, each as often as in both. ``L``: of the longest common
    subsequence of words. Two texts without words have 1, one of them 0. Of a string the words are
    its runs of letters and digits in lower case, of a list its tokens. Of several alternatives
    the best counts.

    Args:
        kind: ``1`` or ``L``.

    Raises:
        ValueError: if `kind` is unknown.
    """

    def __init__(self, kind: Literal["1", "L"] = "L") -> None:
        super().__init__()
        require_choice("kind", kind, ("1", "L"))
        self.kind = kind
        self._add_counts(f"rouge{kind}_counts", 2)

    def count(self, prediction: Text, references: Sequence[Text]) -> list[int]:
        """Return the measure in its unit, and 1."""
        words = _plain_words(prediction)
        best = max(self._measure(words, _plain_words(own)) for own in references)
        return [round(best * _ROUGE_UNIT), 1]

    def _measure(self, words: Sequence[str], wanted: Sequence[str]) -> float:
        if not words or not wanted:
            return float(len(words) == len(wanted))
        if self.kind == "1":
            common = (Counter(words) & Counter(wanted)).total()
        else:
            common = longest_common_subsequence(words, wanted)
        return 2 * common / (len(words) + len(wanted))

    def compute(self) -> Tensor:
        """Return the mean, () in 0 … 1; NaN without an example."""
        return (self.counts[0].double() / _ROUGE_UNIT / self.counts[1]).float()


def tokenize_13a(text: Text) -> list[str]:
    """Return the tokens of a string by mteval-v13a, or those of a list."""
    if not isinstance(text, str):
        return text
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        line = line.replace(entity, character)
    line = f" {line} "
    for pattern, split in _SPLITS:
        line = pattern.sub(split, line)
    return line.split()


def ngrams(symbols: Sequence[Hashable], order: int) -> Counter[Hashable]:
    """Return how often each run of `order` symbols occurs."""
    shifted = (symbols[start:] for start in range(order))
    return Counter(zip(*shifted, strict=False))


def longest_common_subsequence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return its length, by one bit vector for a column of the table (Hyyrö 2004)."""
    places: dict[Hashable, int] = {}
    for row, symbol in enumerate(one):
        places[symbol] = places.get(symbol, 0) | 1 << row
    everything = (1 << len(one)) - 1
    open_rows = everything
    for symbol in other:
        taken = open_rows & places.get(symbol, 0)
        open_rows = (open_rows + taken | open_rows - taken) & everything
    return len(one) - open_rows.bit_count()


def _bleu(length: int, wanted: int, matched: Sequence[int], predicted: Sequence[int]) -> float:
    if not any(matched) or not all(predicted):
        return 0.0
    logarithms, halvings = [], 0
    for match, total in zip(matched, predicted, strict=True):
        if not match:
            halvings += 1
        logarithms.append(math.log((match or 0.5**halvings) / total))
    brevity = min(0.0, 1 - wanted / length)
    return 100 * math.exp(brevity + math.fsum(logarithms) / len(logarithms))


def _characters(text: Text) -> list[Counter[Hashable]]:
    characters = "".join(string_of(text).split())
    return [ngrams(characters, order) for order in range(1, _CHRF_ORDER + 1)]


def _chrf_counts(
    found: Iterable[Counter[Hashable]], wanted: Iterable[Counter[Hashable]]
) -> list[int]:
    counts = []
    for own, other in zip(found, wanted, strict=True):
        # As in sacrebleu, orders longer than the reference do not count against the prediction.
        counts += [own.total() if other else 0, other.total(), (own & other).total()]
    return counts


def _chrf(counts: Sequence[int]) -> float:
    """Return 100 F of the mean precision and recall over orders that both texts have."""
    orders = [counts[start : start + 3] for start in range(0, len(counts), 3)]
    used = [(match / found, match / wanted) for found, wanted, match in orders if found and wanted]
    if not used:
        return 0.0
    precision = sum(share for share, _ in used) / len(used)
    recall = sum(share for _, share in used) / len(used)
    if precision + recall == 0:
        return 0.0
    factor = _CHRF_BETA**2
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall)


def _plain_words(text: Text) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower()) if isinstance(text, str) else text
