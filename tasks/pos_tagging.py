"""Which part of speech is every word? Universal Dependencies treebanks, such as English EWT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqattn import DataError, Example
from seqattn.data import Conllu

ORIGIN = "https://github.com/UniversalDependencies/UD_English-EWT (en_ewt-ud-train.conllu, …)"


class PosTagging(Conllu):
    """A treebank's sentences; says where to get it. Arguments as in :class:`Conllu`."""

    def read(self) -> Iterator[Example]:
        """Yield the sentences.

        Raises:
            DataError: if the file is missing or breaks the format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from super().read()
