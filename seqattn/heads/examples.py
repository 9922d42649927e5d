"""Raw data of training examples, named by key where a vectorizer cannot be fitted on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from seqattn.errors import DataError


class GivenExamples:
    """Raw sources or targets, given one by one, that know which was given last.

    Args:
        items: the raw data.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.place: int | None = None
        """Of the one that was given last, counted from 0; None before the first and at the end."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        """Yield one after the other."""
        for place, item in enumerate(self.items):
            self.place = place
            yield item
        self.place = None


@contextmanager
def naming_examples(
    items: Sequence[Any], keys: Sequence[str] | None = None
) -> Iterator[GivenExamples]:
    """Give raw data to a fit, and name in its error the example on which it stopped.

    The error names no example where the fit has read all data by then, nor where it names a file.

    Args:
        items: a source, or a target, of each example.
        keys: of the examples; None for their places.

    Raises:
        DataError: if an example breaks a rule.
    """
    given = GivenExamples(items)
    try:
        yield given
    except (ValueError, TypeError) as error:
        place, path = given.place, getattr(error, "path", None)
        if place is None or path is not None:
            raise
        message = error.message if isinstance(error, DataError) else str(error)
        raise DataError(message, key=str(place) if keys is None else keys[place]) from error
