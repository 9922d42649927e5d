"""Inflection triples of SIGMORPHON's shared tasks: a lemma, one of its forms, and which one."""

from __future__ import annotations

from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import file_name, is_blank, read_lines, require_examples
from seqattn.errors import DataError


class Inflections(Reader):
    """Reads lemma, inflected form and tags, with tabs between, as in UniMorph.

    ``gehen TAB ging TAB V;PST;3;SG`` gives the target ``ging`` and the source ``["<V>", "<PST>",
    "<3>", "<SG>", "g", "e", "h", "e", "n"]``: see :meth:`source_of`. The form is a string, which
    may hold spaces. Blank lines are skipped. The key is the file's name and the line.

    Args:
        path: the file, plain or ``.gz``.
        encoding: the file's encoding.
    """

    def __init__(self, path: str, *, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = encoding

    @staticmethod
    def source_of(lemma: str, tags: str) -> list[str]:
        """Return the source of a lemma and its tags, ``V;PST;3;SG`` say, as tokens.

        The tags come first, each in angle brackets, so that the tag ``V`` is not the letter; then
        the lemma's characters, spaces among them.
        """
        return [*(f"<{tag}>" for tag in tags.split(";")), *lemma]

    def read(self) -> Iterator[Example]:
        """Yield the triples, in order: source a list of tokens, target a string.

        Raises:
            DataError: if a line is no triple or one of the three is blank, or the file has no
                line; names the file and the line.
        """
        return require_examples(self._triples(), self.path)

    def _triples(self) -> Iterator[Example]:
        for number, line in read_lines(self.path, self.encoding):
            if is_blank(line):
                continue
            cells = [cell.strip() for cell in line.split("\t")]
            if len(cells) != 3 or not all(cells):
                raise DataError(
                    f"a line must be a lemma, a form and tags with tabs between, got {line!r}",
                    path=self.path,
                    line=number,
                )
            lemma, form, tags = cells
            yield Example(self.source_of(lemma, tags), form, f"{file_name(self.path)}:{number}")
