"""Which words fill which slot of a spoken command? SNIPS, as BIO spans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import ParallelFiles, Reader

ORIGIN = "https://github.com/MiuLab/SlotGated-SLU (data/snips)"


class Slots(Reader):
    """Words with their slot tags.

    Args:
        path: the folder that holds ``train``, ``valid`` and ``test``.
        split: which of them.
    """

    def __init__(self, path: str, split: Literal["train", "valid", "test"]) -> None:
        self.path = path
        self.split = split

    def read(self) -> Iterator[Example]:
        """Yield the commands.

        Raises:
            DataError: if the folder is missing, or a line has not as many tags as words.
        """
        folder = Path(self.path, self.split)
        if not folder.is_dir():
            raise DataError(f"there is no such folder; the data is at {ORIGIN}", path=str(folder))
        yield from ParallelFiles(str(folder / "seq.in"), str(folder / "seq.out")).read()
