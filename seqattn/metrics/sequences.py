"""What metrics of written sequences share, and the strictest of them.

A prediction is a string or a list of tokens, whichever the head gives, and so is a reference. A
tuple of references holds alternatives, any of which is right: the variants of a pronunciation,
several translations. A list is always one sequence of tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from seqattn.metrics.counts import Counts

Text = str | list[str]
"""A string, or a list of tokens."""

Reference = Text | tuple[Text, ...]
"""One text, or a tuple of alternatives."""


class SequenceMetric(Counts):
    """A metric of sequences whose states are sums over examples.

    A subclass says what an example adds to the sums and what its value is.
    """

    def _add_counts(self, name: str, size: int, dtype: torch.dtype = torch.int64) -> None:
        self._name = name
        self.add_state(name, torch.zeros(size, dtype=dtype), dist_reduce_fx="sum")

    @property
    def counts(self) -> Tensor:
        """The sums so far (C,)."""
        found: Tensor = getattr(self, self._name)
        return found

    def update(self, predictions: Sequence[Text], references: Sequence[Reference]) -> None:
        """Add examples.

        Args:
            predictions: strings or lists of tokens.
            references: the same; a tuple holds alternatives.

        Raises:
            ValueError: if there is not one reference, or tuple of them, for each prediction.
            TypeError: if one is no string and no list of strings.
        """
        if len(predictions) != len(references):
            raise ValueError(
                "references must be one for each prediction "
                f"({len(predictions)}), got {len(references)}"
            )
        if not predictions:
            return
        rows = []
        for prediction, reference in zip(predictions, references, strict=True):
            alternatives = reference if isinstance(reference, tuple) else (reference,)
            if not alternatives:
                raise ValueError(
                    "references must hold at least one alternative, got an empty tuple"
                )
            _require_text("predictions", prediction)
            for alternative in alternatives:
                _require_text("references", alternative)
            rows.append(self.count(prediction, alternatives))
        total = torch.tensor(rows, dtype=self.counts.dtype).sum(0)
        setattr(self, self._name, self.counts + total.to(self.counts.device))

    @abstractmethod
    def count(self, prediction: Text, references: Sequence[Text]) -> list[float] | list[int]:
        """Return what one example adds to the sums, given its alternatives: C numbers."""


class ExactMatch(SequenceMetric):
    """Part of the sequences that equal their reference, or one of its alternatives."""

    def __init__(self) -> None:
        super().__init__()
        self._add_counts("exact_match_counts", 2)

    def count(self, prediction: Text, references: Sequence[Text]) -> list[int]:
        """Return whether it matches, and 1."""
        return [int(prediction in references), 1]

    def compute(self) -> Tensor:
        """Return the part, () in 0 … 1; NaN without an example."""
        return self.counts[0] / self.counts[1]


def words_of(text: Text) -> list[str]:
    """Return the words of a string, split at white space, or the tokens of a list."""
    return text.split() if isinstance(text, str) else text


def string_of(text: Text) -> str:
    """Return a string, of a list its tokens with a space between."""
    return text if isinstance(text, str) else " ".join(text)


def _require_text(name: str, text: object) -> None:
    if isinstance(text, str):
        return
    if not isinstance(text, list) or not all(isinstance(token, str) for token in text):
        raise TypeError(f"{name} must be strings or lists of strings, got {text!r}")
