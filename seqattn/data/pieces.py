"""An example as it is predicted: whole, or in the pieces of a source that is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from seqattn.batch import Example
from seqattn.errors import DataError
from seqattn.vectorizer import Piece, Vectorizer


@runtime_checkable
class JoinsPieces(Protocol):
    """A model that makes one prediction of those of a source's pieces."""

    def join_pieces(self, pieces: Sequence[Piece], predictions: Sequence[Any]) -> Any:
        """Return the prediction of the whole source, its pieces in the order of time."""


@dataclass(frozen=True)
class CutExample:
    """One example, and the pieces in which it is predicted.

    Args:
        example: the whole.
        pieces: overlapping stretches of its source, in the order of time; None where it is
            predicted as a whole.
    """

    example: Example
    pieces: list[Piece] | None = None

    @classmethod
    def of(cls, example: Example, vectorizer: Vectorizer, model: object) -> Self:
        """Cut an example, where its source is long and the model joins predictions.

        Raises:
            DataError: if the source breaks a rule; names the example's key.
        """
        if not isinstance(model, JoinsPieces):
            return cls(example)
        try:
            return cls(example, vectorizer.pieces(example.source))
        except DataError:
            raise
        except (ValueError, TypeError) as error:
            raise DataError(str(error), key=example.key) from error

    @property
    def examples(self) -> list[Example]:
        """What goes into batches: the example, or its pieces, whose keys say where they begin."""
        if self.pieces is None:
            return [self.example]
        key = self.example.key
        return [Example(p.source, key=f"{key} at {p.start:g} s") for p in self.pieces]

    def join(self, model: object, predictions: Sequence[Any]) -> Any:
        """Return the example's prediction from those of :attr:`examples`.

        Raises:
            DataError: if the model cannot join them; names the example's key.
        """
        if self.pieces is None:
            return predictions[0]
        assert isinstance(model, JoinsPieces)
        try:
            return model.join_pieces(self.pieces, predictions)
        except ValueError as error:
            raise DataError(str(error), key=self.example.key) from error
