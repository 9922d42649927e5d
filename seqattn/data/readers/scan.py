"""Commands and the actions that they ask for, as in SCAN."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import file_name, is_blank, read_lines, require_examples
from seqattn.errors import DataError

_LINE = re.compile(r"\s*IN:\s+(\S.*?)\s+OUT:\s+(\S.*?)\s*")


class Commands(Reader):
    """Reads lines ``IN: jump twice OUT: I_JUMP I_JUMP`` (SCAN, Lake & Baroni 2018).

    Source and target are strings of words with a space between. Blank lines are skipped. The key
    is the file's name and the line.

    Args:
        path: the file, plain or ``.gz``.
        encoding: the file's encoding.
    """

    def __init__(self, path: str, *, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the commands, in order.

        Raises:
            DataError: if a line has no command or no action, or the file has no line; names the
                file and the line.
        """
        return require_examples(self._commands(), self.path)

    def _commands(self) -> Iterator[Example]:
        for number, line in read_lines(self.path, self.encoding):
            if is_blank(line):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise DataError(
                    f"a line must be 'IN: command OUT: actions', got {line!r:.100}",
                    path=self.path,
                    line=number,
                )
            yield Example(match[1], match[2], f"{file_name(self.path)}:{number}")
