"""Files of one example a line: text alone, or a label and its text."""

from __future__ import annotations

from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import file_name, is_blank, read_lines, require_examples
from seqattn.errors import DataError


class Lines(Reader):
    """Reads lines of text without targets, for language models and for prediction.

    The text is kept as it is, leading spaces included. Blank lines are skipped, since nothing can
    be predicted from them; the key, the file's name and the line, keeps counting them.

    Args:
        path: the file, plain or ``.gz``.
        encoding: the file's encoding.
    """

    def __init__(self, path: str, *, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the lines, in order.

        Raises:
            DataError: if the file cannot be read as text, or has no line; names the file.
        """
        return require_examples(self._lines(), self.path)

    def _lines(self) -> Iterator[Example]:
        for number, line in read_lines(self.path, self.encoding):
            if not is_blank(line):
                yield Example(source=line, key=f"{file_name(self.path)}:{number}")


class LabelledLines(Reader):
    """Reads lines of a label and a text, as in TREC and SST.

    ``DESC:manner How did serfdom develop ?`` gives the label ``DESC:manner``, or ``DESC`` with
    ``label_separator=":"``. Blank lines are skipped. The key is the file's name and the line.

    Args:
        path: the file, plain or ``.gz``.
        separator: what stands between label and text, where it first occurs.
        label_separator: the label ends where this first occurs in it; None for the whole label.
        encoding: the file's encoding; TREC's is ``latin-1``.

    Raises:
        ValueError: if a separator is empty.
    """

    def __init__(
        self,
        path: str,
        separator: str = " ",
        *,
        label_separator: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if not separator:
            raise ValueError("separator must hold a character, got ''")
        if label_separator == "":
            raise ValueError("label_separator must hold a character or be None, got ''")
        self.path = path
        self.separator = separator
        self.label_separator = label_separator
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the texts and their labels, in order.

        Raises:
            DataError: if a line has no label or no text, or the file has no line; names the file
                and the line.
        """
        return require_examples(self._lines(), self.path)

    def _lines(self) -> Iterator[Example]:
        for number, line in read_lines(self.path, self.encoding):
            if not is_blank(line):
                label, text = self._split(line, number)
                key = f"{file_name(self.path)}:{number}"
                yield Example(source=text, target=label, key=key)

    def _split(self, line: str, number: int) -> tuple[str, str]:
        label, _, text = line.partition(self.separator)
        if self.label_separator is not None:
            label = label.partition(self.label_separator)[0]
        label, text = label.strip(), text.strip()
        if not (label and text):
            raise DataError(
                f"a line must be a label, {self.separator!r} and a text, got {line!r}",
                path=self.path,
                line=number,
            )
        return label, text
