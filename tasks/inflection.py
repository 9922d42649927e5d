"""Which form does a word take? Lemma and tags to the inflected form, SIGMORPHON 2018 task 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqattn import DataError, Example
from seqattn.data import Inflections, Reader

ORIGIN = "https://github.com/sigmorphon/conll2018 (task1/all)"


class Inflection(Reader):
    """Lemmas with the tags of one of their forms; see :class:`seqattn.data.Inflections`.

    Args:
        path: a file of one language, ``german-train-high`` say.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.reader = Inflections(path)

    def read(self) -> Iterator[Example]:
        """Yield the forms: source the tags and the lemma's characters, target a string.

        Raises:
            DataError: if the file is missing or breaks its format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
