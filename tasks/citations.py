"""What is a paper about? Planetoid's citation graphs, with the public split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import PlanetoidFiles, Reader

ORIGIN = "https://github.com/kimiyoung/planetoid (data)"


class Citations(Reader):
    """One graph of papers with their words, labelled on a part of the public split.

    The label of 20 papers of each class is known in training; words and citations of all are.

    Args:
        path: an ``.npz``, or the folder of the original files, as in
            :class:`~seqattn.data.PlanetoidFiles`.
        split: 500 papers are ``val``, 1,000 others ``test``.
        name: which graph of a folder, such as ``cora``.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        name: str | None = None,
    ) -> None:
        self.path = path
        self.reader = PlanetoidFiles(path, split, name=name)

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if the data is missing or breaks its format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
