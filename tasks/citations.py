"""What is a paper about? Planetoid's citation graphs, with the public split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import Diffused, PlanetoidFiles, Reader

ORIGIN = "https://github.com/kimiyoung/planetoid (data)"


class Citations(Reader):
    """One graph of papers with their words, labelled on a part of the public split.

    The label of 20 papers of each class is known in training; words and citations of all are.

    Args:
        path: an ``.npz``, or the folder of the original files, as in
            :class:`~seqattn.data.PlanetoidFiles`.
        split: 500 papers are ``val``, 1,000 others ``test``.
        name: which graph of a folder, such as ``cora``.
        restart: a paper reads those that a random walk with this probability of a restart reaches
            (see :class:`~seqattn.data.Diffused`); None to read what it cites and what cites it.
        neighbors: how many it reads at most, with `restart`.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        name: str | None = None,
        restart: float | None = None,
        neighbors: int = 32,
    ) -> None:
        self.path = path
        self.reader: Reader = PlanetoidFiles(path, split, name=name)
        if restart is not None:
            self.reader = Diffused(self.reader, restart, neighbors)

    def read(self) -> Iterator[Example]:
        """Yield the graph.

        Raises:
            DataError: if the data is missing or breaks its format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
