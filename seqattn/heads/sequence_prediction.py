"""How a sequence head predicts: a long sound in pieces, and with a warning of what did not end."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from seqattn.batch import Example, SequenceBatch
from seqattn.data.pieces import CutExample
from seqattn.errors import DataError
from seqattn.heads.base import TaskHead
from seqattn.heads.sequence_pieces import join_outputs
from seqattn.heads.sequence_targets import TargetSequenceVectorizer
from seqattn.layers.decoder import Decoder
from seqattn.vectorizer import Piece


class SequencePrediction(TaskHead):
    """Base of the sequence head.

    A sound longer than its front-end's `piece_seconds` is predicted in pieces. Without decoder
    the words of each have times, by which they are joined. A decoder writes at no time, so with it
    such a sound is refused before anything is predicted.
    """

    decoder: Decoder | None
    target_vectorizer: TargetSequenceVectorizer
    _piece_keys: frozenset[str] = frozenset()
    _gives_times = False
    _written = 0
    _unfinished = 0

    def predict(
        self, raw: Sequence[Any], *, batch_tokens: int | None = None, **settings: Any
    ) -> list[Any]:
        """Return the output for each raw source, in the same order; see :meth:`decode`.

        Warns, once, of outputs at whose end END never came.

        Raises:
            DataError: if a sound is too long for a decoder or for n-best; names its place in `raw`.
        """
        is_refused = isinstance(raw, str) or not self.is_built  # by the base
        examples = [] if is_refused else [Example(x, key=str(i)) for i, x in enumerate(raw)]
        vectorizer = self.frontend.vectorizer
        self._begin([CutExample.of(one, vectorizer, self) for one in examples], settings)
        found = super().predict(raw, batch_tokens=batch_tokens, **settings)
        self._warn_of_unfinished()
        return found

    def on_predict_start(self) -> None:
        """Refuse what :meth:`predict` does."""
        data: Any = getattr(self.trainer, "datamodule", None)
        self._begin(data.cut_examples() if hasattr(data, "cut_examples") else [], {})

    def on_predict_epoch_end(self) -> None:
        """Warn as :meth:`predict` does."""
        self._warn_of_unfinished()

    def predict_batch(self, batch: SequenceBatch, **settings: Any) -> list[Any]:
        """Return one prediction per sequence of a batch; that of a piece with its words' times."""
        are_pieces = [key in self._piece_keys for key in batch.keys]
        if not any(are_pieces) or settings.get("times"):
            return super().predict_batch(batch, **settings)
        found = super().predict_batch(batch, **{**settings, "times": True})
        return [
            one if is_piece else one["output"]
            for one, is_piece in zip(found, are_pieces, strict=True)
        ]

    def join_pieces(self, pieces: Sequence[Piece], predictions: Sequence[Any]) -> Any:
        """Return the output for a sound that was predicted in overlapping pieces.

        Raises:
            ValueError: if predictions have no times, or two pieces have no words in common.
        """
        gives_tokens = self.target_vectorizer.gives_tokens
        found = join_outputs(pieces, predictions, gives_tokens=gives_tokens)
        return found if self._gives_times else found["output"]

    def _begin(self, examples: Sequence[CutExample], settings: dict[str, Any]) -> None:
        """Take note of what is in pieces; refuse those that could not be joined."""
        cut = [(one, one.pieces) for one in examples if one.pieces is not None]
        for one, pieces in cut:
            self._require_joinable(one.example.key, pieces, settings.get("n_best"))
        self._piece_keys = frozenset(piece.key for one, _ in cut for piece in one.examples)
        self._gives_times = bool(settings.get("times"))
        self._written = self._unfinished = 0

    def _require_joinable(self, key: str, pieces: Sequence[Piece], n_best: int | None) -> None:
        limit, length = pieces[0].end - pieces[0].start, pieces[-1].end
        if self.decoder is not None:
            raise DataError(
                f"a sound must be at most piece_seconds = {limit:g} seconds long for a decoder, "
                f"whose outputs for pieces have no times to join them by, got {length:g}: "
                "raise the front-end's piece_seconds, or give stretches of the sound",
                key=key,
            )
        if n_best is not None:
            raise DataError(
                f"n_best needs a sound of at most piece_seconds = {limit:g} seconds, "
                f"got {length:g}",
                key=key,
            )

    def _count_written(self, finished: Sequence[bool]) -> None:
        self._written += len(finished)
        self._unfinished += finished.count(False)

    def _warn_of_unfinished(self) -> None:
        if self._unfinished:
            warnings.warn(
                f"{self._unfinished} of {self._written} outputs reached max_length without END: "
                "raise it, or see which with n_best=1",
                UserWarning,
                stacklevel=3,
            )
        self._written = self._unfinished = 0
