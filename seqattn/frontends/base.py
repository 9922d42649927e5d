"""What a front-end is: the door by which a modality enters."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.recorded import Recorded
from seqattn.vectorizer import Vectorizer


class FrontEnd(Recorded, nn.Module, ABC):
    """Turns a batch of ids or features into a batch whose values are vectors (T', D).

    A subclass sets :attr:`vectorizer` in ``__init__``, makes its layers in :meth:`build`, when the
    vectorizer is fitted and D is known, and computes in :meth:`forward`.
    """

    vectorizer: Vectorizer
    keeps_positions: bool = True
    """Whether the encoder sees every position of a source, in order. It is False where sequences
    are shortened, or have no order: then their lengths say nothing about the encoder's limit."""

    @abstractmethod
    def build(self, dim: int) -> None:
        """Make the layers whose sizes the fitted vectorizer and D decide. Called once."""

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T', D), and everything that follows from them.

        A front-end that shortens sequences also returns their offsets, packing (from the host's
        lengths, see :meth:`Packing.from_lengths`), and per-position targets and `labelled`. One
        whose positions have no order says so with :meth:`Packing.with_positions`.

        Shape:
            batch.values: (T,) or (T, F), as the vectorizer made them.
        """

    @property
    def spellings(self) -> list[str]:
        """How each symbol of :meth:`spell` is written; none where positions spell nothing."""
        return []

    def spell(self, batch: SequenceBatch) -> Tensor:
        """Return the place in :attr:`spellings` of what each position is, below 0 for nothing.

        Shape:
            batch.values: (T,) or (T, F), as the vectorizer made them. returns: (T,) int64.
        """
        return batch.offsets.new_full((batch.packing.total,), -1)
