"""Column files: one token a line, its tag in a column, a blank line after each sentence."""

from __future__ import annotations

from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import (
    Line,
    file_name,
    read_blocks,
    require_examples,
    split_blanks,
)
from seqattn.errors import DataError

_DOCUMENT = "-DOCSTART-"


class Conll(Reader):
    """Reads sentences with one tag per token, as in the CoNLL-2003 and WNUT-17 files.

    An example's source is the list of tokens, its target the list of tags. Lines whose token is
    ``-DOCSTART-`` are skipped. Its key is the file's name and the line where the sentence begins.

    Args:
        path: the file, plain or ``.gz``.
        token_column: the token's column, from 0; a negative one counts from the line's end.
        tag_column: the tag's column, likewise; None for tokens without tags.
        separator: what stands between columns; None for any run of spaces and tabs.
        comment: what a line begins with that is to be skipped; None for no such lines.
        encoding: the file's encoding.

    Raises:
        ValueError: if the columns are one, or `separator` or `comment` is empty.
    """

    def __init__(
        self,
        path: str,
        token_column: int = 0,
        tag_column: int | None = -1,
        *,
        separator: str | None = None,
        comment: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if token_column == tag_column:
            raise ValueError(f"tag_column must differ from token_column, got {tag_column} for both")
        if separator == "":
            raise ValueError("separator must hold a character or be None, got ''")
        if comment == "":
            raise ValueError("comment must hold a character or be None, got ''")
        self.path = path
        self.token_column = token_column
        self.tag_column = tag_column
        self.separator = separator
        self.comment = comment
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the sentences, in order.

        Raises:
            DataError: if a line lacks a column, or there is no sentence; names the file and line.
        """
        return require_examples(self._sentences(), self.path)

    def _sentences(self) -> Iterator[Example]:
        for block in read_blocks(self.path, self.encoding):
            rows = [self._columns(line) for line in block if not self._is_comment(line)]
            rows = [row for row in rows if row[0] != _DOCUMENT]
            if rows:
                yield Example(
                    source=[token for token, _ in rows],
                    target=None if self.tag_column is None else [tag for _, tag in rows],
                    key=f"{file_name(self.path)}:{block[0][0]}",
                )

    def _is_comment(self, line: Line) -> bool:
        return self.comment is not None and line[1].startswith(self.comment)

    def _columns(self, line: Line) -> tuple[str, str]:
        """Return the token and the tag of a line."""
        number, text = line
        columns = split_blanks(text) if self.separator is None else text.split(self.separator)
        token = self._place("token_column", self.token_column, columns, number)
        if self.tag_column is None or columns[token] == _DOCUMENT:
            return columns[token], ""
        tag = self._place("tag_column", self.tag_column, columns, number)
        if tag == token:
            raise DataError(
                f"a line must have a token and a tag in two columns, got {text!r}",
                path=self.path,
                line=number,
            )
        return columns[token], columns[tag]

    def _place(self, name: str, column: int, columns: list[str], number: int) -> int:
        """Return a column's place from the left."""
        place = column if column >= 0 else column + len(columns)
        if not 0 <= place < len(columns):
            raise DataError(
                f"a line must have the {name} {column}, got {len(columns)} columns",
                path=self.path,
                line=number,
            )
        return place
