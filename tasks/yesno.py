"""Which words are said? Eight times yes or no in one breath, by one speaker (OpenSLR 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from seqattn import DataError, Example
from seqattn.data import AudioNames, Reader, Split

ORIGIN = "https://www.openslr.org/1 (waves_yesno, as a zip or folder)"

SplitName = Literal["train", "val", "test"]

_WORDS = {"1": "yes", "0": "no"}


class YesNo(Reader):
    """Recordings ``1_0_0_….wav`` with their words, ``yes no no …``, as target.

    There is no official split: a third, 20 files of 60, is held out for the test, and of the
    others a tenth is for validation.

    Args:
        path: the zip archive, or the folder of the recordings.
        split: "train", "val" or "test".
        seed: decides which file is where.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, path: str, split: SplitName, *, seed: int = 0) -> None:
        if split not in get_args(SplitName):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        files = AudioNames(path, "{words}.wav", target="words")
        if split == "test":
            self.reader = Split(files, "held_out", 1 / 3, seed=seed)
        else:
            part: Literal["train", "held_out"] = "held_out" if split == "val" else "train"
            self.reader = Split(Split(files, "train", 1 / 3, seed=seed), part, 0.1, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the recordings, by name.

        Raises:
            DataError: if the data is missing, or a name is not of ones and zeros.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        for example in self.reader.read():
            yield replace(example, target=_transcribe(example))


def _transcribe(example: Example) -> str:
    """Return the words that a file's name stands for."""
    digits = example.target.split("_")
    if not set(digits) <= _WORDS.keys():
        raise DataError(
            "the name must be ones and zeros with _ between, as in 1_0_0_1.wav, "
            f"got {example.target!r}",
            key=example.key,
        )
    return " ".join(_WORDS[digit] for digit in digits)
