"""Which digit is it? The 10,000 published test images of MNIST, with a split of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from seqattn import DataError, Example
from seqattn.data import IdxImages, Reader, Split

ORIGIN = "https://github.com/nature24/Minist (t10k-images-idx3-ubyte.gz and its labels)"

_TEST, _VAL = 2_000, 500


class HandwrittenDigits(Reader):
    """Images (28, 28) with their digit, split by seed, since the large training file is left out.

    Args:
        path: the folder of ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``.
        split: 2,000 images are held out for ``test``, 500 of the 8,000 others for ``val``.
        seed: decides which.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, path: str, split: Literal["train", "val", "test"], *, seed: int = 0) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {split!r}")
        self.path = path
        self.split = split
        self.file = str(Path(path) / "t10k-images-idx3-ubyte.gz")
        images = IdxImages(self.file, str(Path(path) / "t10k-labels-idx1-ubyte.gz"))
        rest = Split(images, "train", _TEST, seed=seed)
        part: Literal["train", "held_out"] = "train" if split == "train" else "held_out"
        is_test = split == "test"
        self.reader = Split(
            images if is_test else rest, part, _TEST if is_test else _VAL, seed=seed
        )

    def read(self) -> Iterator[Example]:
        """Yield the images.

        Raises:
            DataError: if a file is missing or breaks the format.
        """
        if not Path(self.file).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.file)
        yield from self.reader.read()
