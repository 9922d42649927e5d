"""Pronunciation dictionaries: a word and its phonemes a line, as in CMUdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import (
    file_name,
    is_blank,
    read_lines,
    require_examples,
    split_blanks,
)
from seqattn.errors import DataError

Variants = Literal["all", "first"]

_NUMBER = re.compile(r"(.+)\(\d+\)")
_STRESS = re.compile(r"([A-Z]+)[0-2]")


class Pronunciations(Reader):
    """Reads words and their phonemes from a dictionary such as CMUdict.

    ``aalto AA1 L T OW2 # name, finnish`` gives the source ``aalto`` and the target ``["AA1", "L",
    "T", "OW2"]``. A word may have several pronunciations: the later ones are written ``word(2)``,
    or as the word again. Comments, ``#`` to the line's end or a line that begins with ``;;;``, and
    blank lines are left out.

    The key is the file's name and the word, of its second pronunciation ``word(2)``, and so on:
    keys that differ in that number alone are variants of one word, any of which is right.

    Args:
        path: the file, plain or ``.gz``.
        stress: whether vowels keep their stress, a digit from 0 to 2. Variants of a word that are
            then the same are one.
        variants: ``all`` pronunciations of a word, or the ``first`` alone.
        encoding: the file's encoding; older CMUdicts are in ``latin-1``.

    Raises:
        ValueError: if `variants` is neither.
    """

    def __init__(
        self,
        path: str,
        *,
        stress: bool = True,
        variants: Variants = "all",
        encoding: str = "utf-8",
    ) -> None:
        if variants not in ("all", "first"):
            raise ValueError(f"variants must be all or first, got {variants!r}")
        self.path = path
        self.stress = stress
        self.variants = variants
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the words, in order: source a string, target a list of phonemes.

        Raises:
            DataError: if a line has a word without phonemes, or the file has no word; names the
                file and the line.
        """
        return require_examples(self._pronunciations(), self.path)

    def _pronunciations(self) -> Iterator[Example]:
        seen: set[tuple[str, ...]] = set()
        counts: Counter[str] = Counter()
        for number, line in read_lines(self.path, self.encoding):
            text = line.partition(" #")[0]
            if is_blank(text) or line.startswith((";;;", "#")):
                continue
            word, phonemes = self._split(text, number)
            if (word, *phonemes) in seen or (counts[word] and self.variants == "first"):
                continue
            seen.add((word, *phonemes))
            counts[word] += 1
            variant = f"({counts[word]})" if counts[word] > 1 else ""
            yield Example(word, phonemes, f"{file_name(self.path)}:{word}{variant}")

    def _split(self, text: str, number: int) -> tuple[str, list[str]]:
        """Return the word without its variant's number, and its phonemes."""
        entry, *phonemes = split_blanks(text)
        if not phonemes:
            raise DataError(
                f"a line must be a word and its phonemes, got {text!r}",
                path=self.path,
                line=number,
            )
        numbered = _NUMBER.fullmatch(entry)
        word = numbered[1] if numbered else entry
        return word, phonemes if self.stress else [_STRESS.sub(r"\1", one) for one in phonemes]
