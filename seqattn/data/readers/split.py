"""A seeded part of what another reader gives: held-out data, or fewer examples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.errors import DataError

Part = Literal["train", "held_out"]


class Split(Reader):
    """Gives one of two parts of another reader's examples, for data that come in one file.

    Two splits of equal reader, `held_out` and `seed` have no example in common and give all of
    them together. The examples keep their order and their keys.

    Args:
        reader: the reader of all examples.
        part: which part to give.
        held_out: size of the part ``held_out``: a count (int), or a fraction of all (float).
        seed: decides which examples are held out.

    Raises:
        TypeError: if `held_out` is neither int nor float.
        ValueError: if there is no such part, or `held_out` is out of its range.
    """

    def __init__(
        self, reader: Reader, part: Part = "train", held_out: int | float = 0.1, *, seed: int = 0
    ) -> None:
        if part not in ("train", "held_out"):
            raise ValueError(f"part must be train or held_out, got {part!r}")
        _require_size("held_out", held_out)
        self.reader = reader
        self.part = part
        self.held_out = held_out
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the part's examples, in order.

        Raises:
            DataError: if one of the two parts would be empty, or as the other reader does.
        """
        examples = list(self.reader.read())
        chosen = _choose(len(examples), self.held_out, self.seed)
        if len(chosen) == len(examples):
            raise DataError(
                f"held_out must leave an example to train on, got {self.held_out} of "
                f"{len(examples)} examples"
            )
        for index, example in enumerate(examples):
            if (index in chosen) == (self.part == "held_out"):
                yield example


class Limit(Reader):
    """Gives a random sample of another reader's examples, to train on 1 % of them, say.

    Of two sizes with one seed, the smaller sample is part of the larger one, so that the points
    of a learning curve are comparable. The examples keep their order and their keys.

    Args:
        reader: the reader of all examples.
        size: size of the sample: a count (int), or a fraction of all (float).
        seed: decides which examples are taken.

    Raises:
        TypeError: if `size` is neither int nor float.
        ValueError: if `size` is out of its range.
    """

    def __init__(self, reader: Reader, size: int | float, *, seed: int = 0) -> None:
        _require_size("size", size)
        self.reader = reader
        self.size = size
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the sample's examples, in order.

        Raises:
            DataError: if there are fewer examples than `size`, or as the other reader does.
        """
        examples = list(self.reader.read())
        if self.size > len(examples):
            raise DataError(f"size must be at most {len(examples)}, got {self.size}")
        chosen = _choose(len(examples), self.size, self.seed)
        yield from (example for index, example in enumerate(examples) if index in chosen)


def _require_size(name: str, size: int | float) -> None:
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise TypeError(f"{name} must be a count (int) or a fraction (float), got {size!r}")
    if isinstance(size, float) and not 0 < size <= 1:
        raise ValueError(f"{name} as a fraction must be above 0 and at most 1, got {size}")
    if size <= 0:
        raise ValueError(f"{name} as a count must be at least 1, got {size}")


def _choose(total: int, size: int | float, seed: int) -> frozenset[int]:
    """Return the numbers of the chosen examples: the first ones of one shuffled order."""
    count = max(1, round(size * total)) if isinstance(size, float) else size
    order = list(range(total))
    random.Random(seed).shuffle(order)
    return frozenset(order[:count])
