"""What does a command ask for? SCAN, whose length split asks for longer outputs than it taught."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import Commands, Reader, Split

ORIGIN = "https://github.com/brendenlake/SCAN (simple_split and length_split)"

Part = Literal["all", "train", "val"]


class Scan(Reader):
    """Commands and the actions that they ask for; see :class:`seqattn.data.Commands`.

    Args:
        path: a file of one split, ``tasks_train_simple.txt`` say.
        part: ``all`` commands; or those held out for ``val`` and those left for ``train``.
        held_out: how many are for ``val``.
        seed: decides which.

    Raises:
        ValueError: if there is no such part, or `held_out` is out of its range.
    """

    def __init__(
        self, path: str, part: Part = "all", *, held_out: int = 500, seed: int = 0
    ) -> None:
        if part not in ("all", "train", "val"):
            raise ValueError(f"part must be all, train or val, got {part!r}")
        self.path = path
        self.reader: Reader = Commands(path)
        if part != "all":
            chosen: Literal["train", "held_out"] = "held_out" if part == "val" else "train"
            self.reader = Split(self.reader, chosen, held_out, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the commands: source and target strings of words.

        Raises:
            DataError: if the file is missing, breaks its format, or is too small.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
