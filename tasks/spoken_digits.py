"""Which digit is spoken? The Free Spoken Digit Dataset: five speakers, 8 kHz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from seqattn import DataError, Example
from seqattn.data import AudioNames, Reader

ORIGIN = "https://github.com/Jakobovski/free-spoken-digit-dataset (recordings, as a zip or folder)"

SplitName = Literal["train", "val", "test"]

_PATTERN = "{label}_{speaker}_{index}.wav"
_INDICES: dict[str, list[str | int]] = {"train": ["5-44"], "val": ["45-49"], "test": ["0-4"]}


class SpokenDigits(Reader):
    """Recordings ``{digit}_{speaker}_{index}.wav``, with the digit as target.

    By default the set's own rule: indices 0 to 4 are the test split. Of the others, 45 to 49 are
    the validation split. With a held-out speaker, all of their recordings are the test split, and
    of the other speakers' indices 45 to 49 are the validation split and the rest for training.

    Args:
        path: the zip archive, or the folder of the recordings.
        split: "train", "val" or "test".
        held_out: a speaker (george, jackson, lucas, nicolas or theo) whom only the test hears.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, path: str, split: SplitName, *, held_out: str | None = None) -> None:
        if split not in get_args(SplitName):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        self.split = split
        self.held_out = held_out
        if held_out is None:
            self.reader = AudioNames(path, _PATTERN, where={"index": _INDICES[split]})
        elif split == "test":
            self.reader = AudioNames(path, _PATTERN, where={"speaker": [held_out]})
        else:
            indices: list[str | int] = ["0-44"] if split == "train" else ["45-49"]
            others: dict[str, list[str | int]] = {"speaker": [held_out]}
            self.reader = AudioNames(path, _PATTERN, where={"index": indices}, exclude=others)

    def read(self) -> Iterator[Example]:
        """Yield the recordings, by name.

        Raises:
            DataError: if the data is missing, or nobody is called what `held_out` says.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        yield from self.reader.read()
