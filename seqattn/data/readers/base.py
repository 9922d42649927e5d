"""What a reader is: it gives examples, and opens nothing before it is asked to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.recorded import Recorded


class Reader(Recorded, ABC):
    """Gives the examples of one split. Subclasses override :meth:`read`.

    A reader opens nothing in ``__init__``. The first argument of one that reads a file is `path`.
    """

    @abstractmethod
    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if a file breaks its format; names the file and the line.
        """
