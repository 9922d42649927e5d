"""What does a spoken command want? SNIPS, seven intents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import ParallelFiles, Reader

ORIGIN = "https://github.com/MiuLab/SlotGated-SLU (data/snips)"


class Intents(Reader):
    """Commands with their intent.

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
            DataError: if the folder is missing, or the files have not equally many lines.
        """
        folder = Path(self.path, self.split)
        if not folder.is_dir():
            raise DataError(f"there is no such folder; the data is at {ORIGIN}", path=str(folder))
        commands, labels = folder / "seq.in", folder / "label"
        yield from ParallelFiles(str(commands), str(labels), "sequence").read()
