"""Raw to tensors: the contract between a reader's examples and a front-end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seqattn.batch import SequenceBatch


@dataclass(frozen=True, eq=False)
class Vectorized:
    """One source as tensors, its edges local to it.

    Args:
        values: Shape: (L,) or (L, F).
        edge_index: Shape: (2, E), or None.
        edge_weight: Shape: (E,), or None.
        edge_attr: Shape: (E, F), or None.
        labelled: positions that carry a label. Shape: (L,) bool; None for all.
        times: centre of each position, in seconds of the raw source, where positions have a time.
            Shape: (L,), or None.
    """

    values: Tensor
    edge_index: Tensor | None = None
    edge_weight: Tensor | None = None
    edge_attr: Tensor | None = None
    labelled: Tensor | None = None
    times: Tensor | None = None


@dataclass(frozen=True)
class Piece:
    """A stretch of a raw source that is too long to be predicted at once.

    Args:
        source: the stretch, a raw source itself.
        start: where it begins, in seconds of the whole.
        end: where it ends, in seconds of the whole.
    """

    source: Any
    start: float
    end: float


class Vectorizer(ABC):
    """Turns raw sources into tensors. A plain picklable object that holds no weights.

    It is fitted once, on the training examples, and its state travels in the checkpoint.
    """

    @abstractmethod
    def fit(self, sources: Iterable[Any]) -> None:
        """Learn vocabulary or statistics from raw training sources."""

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` or :meth:`load_state` was called."""

    @abstractmethod
    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the tensors of one raw source.

        Args:
            raw: the source.
            draw: the augmentation's seed; None for no augmentation.
        """

    @abstractmethod
    def empty(self) -> Tensor:
        """Return the values of no position at all, of the right type and columns."""

    @abstractmethod
    def length(self, raw: Any) -> int:
        """Return the number of positions of one raw source, without vectorizing it."""

    def pieces(self, raw: Any) -> list[Piece] | None:
        """Return the overlapping pieces in which a long source is predicted.

        None, as by default, for a source that is predicted as a whole.
        """
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what was fitted, as data that JSON can hold."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave."""

    def adopt(self, state: dict[str, Any], sources: Iterable[Any]) -> None:
        """Take the vocabulary of another run's state; fit all that is not vocabulary on sources.

        By default all is vocabulary.
        """
        self.load_state(state)

    def has_vocabulary_of(self, state: dict[str, Any]) -> bool:
        """Return whether weights that were learned with that state mean the same with this one."""
        return self.state() == state


class TargetVectorizer(ABC):
    """Turns raw targets into tensors; sees the vectorized source of the same example."""

    needs_raw: bool = True
    """Whether a target comes from the example's raw target, and not from its source alone."""

    @abstractmethod
    def fit(self, targets: Iterable[Any]) -> None:
        """Learn labels or statistics from raw training targets."""

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` or :meth:`load_state` was called."""

    @abstractmethod
    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return the targets of one example, given its vectorized source.

        Raises:
            ValueError: if the target does not fit the source.
        """

    @abstractmethod
    def join(self, rows: Sequence[Tensor]) -> Tensor | SequenceBatch:
        """Return the batch's targets from those of its examples; none for an empty batch."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what was fitted, as data that JSON can hold."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave."""
