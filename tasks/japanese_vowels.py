"""Who of nine men says two vowels? Cepstrum coefficients of whole utterances, 7 to 29 steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import Reader, Split, TimeSeries

ORIGIN = "https://github.com/aeon-toolkit/aeon (aeon/datasets/data/JapaneseVowels)"

_VAL = 27


class JapaneseVowels(Reader):
    """Utterances (L, 12) with their speaker, in the set's own training and test files.

    Args:
        path: the folder of ``JapaneseVowels_TRAIN.ts`` and ``JapaneseVowels_TEST.ts``.
        split: 27 utterances of the training file's 270 are held out for ``val``.
        seed: decides which.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, path: str, split: Literal["train", "val", "test"], *, seed: int = 0) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        self.split = split
        name = "TEST" if split == "test" else "TRAIN"
        self.file = str(Path(path) / f"JapaneseVowels_{name}.ts")
        series = TimeSeries(self.file)
        part: Literal["train", "held_out"] = "train" if split == "train" else "held_out"
        self.reader = series if split == "test" else Split(series, part, _VAL, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the utterances.

        Raises:
            DataError: if the file is missing or breaks the format.
        """
        if not Path(self.file).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.file)
        yield from self.reader.read()
