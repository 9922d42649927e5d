"""CoNLL-U, the format of the Universal Dependencies treebanks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, get_args

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import Line, file_name, read_blocks, require_examples
from seqattn.errors import DataError

Column = Literal["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
COLUMNS: tuple[str, ...] = get_args(Column)

_SENT_ID = re.compile(r"#\s*sent_id\s*=\s*(.*\S)")
_ID = re.compile(r"(?P<word>[0-9]+)(-(?P<last>[0-9]+)|\.(?P<empty>[0-9]+))?")


class Conllu(Reader):
    """Reads sentences with one label per syntactic word, from one of CoNLL-U's ten columns.

    An example's source is the list of word forms, which may hold spaces; its target is the list
    of the column's values, ``_`` included. Multiword tokens (``3-4``) and empty nodes (``8.1``)
    are skipped. Its key is the sentence's ``sent_id``, or the file's name and the line.

    Args:
        path: the file, plain or ``.gz``.
        column: the column that is the target, by its name in CoNLL-U.
        encoding: the file's encoding.

    Raises:
        ValueError: if there is no such column.
    """

    def __init__(self, path: str, column: Column = "upos", *, encoding: str = "utf-8") -> None:
        if column not in COLUMNS:
            raise ValueError(f"column must be one of {', '.join(COLUMNS)}, got {column!r}")
        self.path = path
        self.column = column
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the sentences, in order.

        Raises:
            DataError: if a line has not ten columns, an id is out of order, or there is no
                sentence; names the file and the line.
        """
        return require_examples(self._sentences(), self.path)

    def _sentences(self) -> Iterator[Example]:
        target = COLUMNS.index(self.column)
        for block in read_blocks(self.path, self.encoding):
            words = self._words(block)
            if words:
                yield Example(
                    source=[word[1] for word in words],
                    target=[word[target] for word in words],
                    key=self._key(block),
                )

    def _words(self, block: list[Line]) -> list[list[str]]:
        """Return the columns of a sentence's syntactic words."""
        words: list[list[str]] = []
        for number, line in block:
            if line.startswith("#"):
                continue
            columns = line.split("\t")
            if len(columns) != len(COLUMNS):
                raise DataError(
                    f"a word must have {len(COLUMNS)} columns with tabs between them, "
                    f"got {len(columns)}",
                    path=self.path,
                    line=number,
                )
            if self._is_word(columns[0], len(words), number):
                words.append(columns)
        return words

    def _is_word(self, word_id: str, before: int, number: int) -> bool:
        """Check an id against the number of words before it; return whether it is a word's."""
        match = _ID.fullmatch(word_id)
        if match is None:
            raise DataError(
                f"id must be an integer, a range (3-4) or an empty node's (8.1), got {word_id!r}",
                path=self.path,
                line=number,
            )
        expected = before if match["empty"] else before + 1
        if int(match["word"]) != expected:
            raise DataError(
                f"ids must count the words of a sentence from 1 on, so that {expected} comes here, "
                f"got {word_id!r}: a blank line ends a sentence",
                path=self.path,
                line=number,
            )
        return not (match["last"] or match["empty"])

    def _key(self, block: list[Line]) -> str:
        for _, line in block:
            match = _SENT_ID.match(line)
            if match:
                return match[1]
        return f"{file_name(self.path)}:{block[0][0]}"
