"""What kind of answer does a question ask for? TREC, six coarse or fifty fine classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import LabelledLines, Reader, Split

ORIGIN = "https://github.com/harvardnlp/sent-conv-torch (data/TREC.train.all, as TREC.train)"

_TEST, _VAL = 500, 150


class Questions(Reader):
    """Questions with their class, split by seed, since the training file comes alone.

    Some questions occur twice in the file, and may so be in two splits.

    Args:
        path: the file ``TREC.train``.
        split: 500 questions are held out for ``test``, 150 of the others for ``val``.
        seed: decides which.
        fine: give the fine class, ``DESC:manner``, and not only ``DESC``.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        seed: int = 0,
        fine: bool = False,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        self.split = split
        lines = LabelledLines(path, label_separator=None if fine else ":", encoding="latin-1")
        held_out = Split(lines, "held_out", _TEST, seed=seed)
        rest = Split(lines, "train", _TEST, seed=seed)
        part: Literal["train", "held_out"] = "train" if split == "train" else "held_out"
        self.reader = held_out if split == "test" else Split(rest, part, _VAL, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the questions.

        Raises:
            DataError: if the file is missing or breaks the format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
