"""Two files, line by line: sentences in one, their targets in the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
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

Level = Literal["token", "sequence"]


class ParallelFiles(Reader):
    """Reads sentences from one file and their targets from the same lines of another.

    At the level ``token``, source and target are lists: the tokens of the line, with spaces or
    tabs between them, and as many tags. At the level ``sequence``, both are the stripped lines:
    a sentence and its label, its translation, and so on. Lines that are blank in both files are
    skipped. The key is the source file's name and the line.

    Args:
        path: the file of sentences, plain or ``.gz``.
        targets: the file of targets, plain or ``.gz``, with as many lines.
        level: whether a target belongs to each token or to the whole sequence.
        encoding: the encoding of both files.

    Raises:
        ValueError: if there is no such level.
    """

    def __init__(
        self, path: str, targets: str, level: Level = "token", *, encoding: str = "utf-8"
    ) -> None:
        if level not in ("token", "sequence"):
            raise ValueError(f"level must be token or sequence, got {level!r}")
        self.path = path
        self.targets = targets
        self.level = level
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if the files differ in their number of lines, a line in its number of
                tokens and tags, or there is no example; names the file and the line.
        """
        return require_examples(self._pairs(), self.path)

    def _pairs(self) -> Iterator[Example]:
        sources = read_lines(self.path, self.encoding)
        targets = read_lines(self.targets, self.encoding)
        for source, target in zip_longest(sources, targets):
            if source is None or target is None:
                raise self._unequal_lines()
            number, sentence = source
            if not (is_blank(sentence) and is_blank(target[1])):
                yield self._pair(sentence, target[1], number)

    def _pair(self, source: str, target: str, number: int) -> Example:
        key = f"{file_name(self.path)}:{number}"
        if self.level == "token":
            tokens, tags = split_blanks(source), split_blanks(target)
            self._require_equal(len(tokens), len(tags), number)
            return Example(source=tokens, target=tags, key=key)
        if is_blank(source) or is_blank(target):
            blank, filled = (
                (self.path, self.targets) if is_blank(source) else (self.targets, self.path)
            )
            raise DataError(
                f"a line must be blank in both files or in none, got text in {filled} alone",
                path=blank,
                line=number,
            )
        return Example(source=source.strip(), target=target.strip(), key=key)

    def _require_equal(self, tokens: int, tags: int, number: int) -> None:
        if tokens != tags:
            raise DataError(
                f"a line must have as many tags as {self.path} has tokens there, "
                f"got {tokens} tokens and {tags} tags",
                path=self.targets,
                line=number,
            )

    def _unequal_lines(self) -> DataError:
        """Count the lines of both files for the error."""
        sources, targets = (
            sum(1 for _ in read_lines(path, self.encoding)) for path in (self.path, self.targets)
        )
        return DataError(
            f"the file must have as many lines as {self.path}, which has {sources}, got {targets}",
            path=self.targets,
        )
