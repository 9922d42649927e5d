"""Word-vector text files: word2vec, GloVe and fastText write them alike."""

from __future__ import annotations

import gzip
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from seqattn.errors import DataError

Vector = npt.NDArray[np.float32]

_HEADER = re.compile(r"\d+ \d+")


def read_word_vectors(path: str, words: Collection[str], extra: int = 0) -> dict[str, Vector]:
    """Return the vectors (F,) of some words, and of the first `extra` other words of the file.

    Each line is ``word v1 v2 … vF``, split at blanks, in UTF-8; a word may hold blanks. A first
    line ``count F`` is a header. A path that ends in ``.gz`` is unpacked. The number of values is
    checked on every line, the values themselves where they are taken. Of several lines for one
    word the first counts. A word that the file has in lower case only gets that vector.

    Raises:
        DataError: if a line breaks the format, or the file is missing, empty, cut short or
            without any of the words; names file and line.
    """
    wanted = {*words, *(word.lower() for word in words)}
    found: dict[str, Vector] = {}
    others: dict[str, Vector] = {}
    for line, word, values in _read_lines(path):
        if word in wanted and word not in found:
            found[word] = _parse(path, line, values)
        elif word not in wanted and word not in others and len(others) < extra:
            others[word] = _parse(path, line, values)
    if not found:
        raise DataError(
            f"the file must hold one of the {len(words)} words wanted, got none", path=path
        )
    exact = {word: found[word] for word in words if word in found}
    folded = {w: found[w.lower()] for w in words if w not in found and w.lower() in found}
    return {**exact, **folded, **others}


def _read_lines(path: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, word and values of each line; check the header and the number of values."""
    promised = dim = read = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                line = line.rstrip(" \r\n")
                if number == 1 and _HEADER.fullmatch(line):
                    promised, dim = map(int, line.split())
                    continue
                dim = dim or line.count(" ")
                word, *values = line.rsplit(" ", dim)
                if len(values) != dim or dim == 0 or _ends_in_number(word):
                    raise DataError(
                        f"a line must be a word and {dim or 'some'} values, got {line!r:.60}",
                        path=path,
                        line=number,
                    )
                read += 1
                yield number, word, values
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"the file must be whole and in UTF-8, got: {error}", path=path) from error
    if read < max(promised, 1):
        raise DataError(f"the file must hold {max(promised, 1)} words, got {read}", path=path)


def _open(path: str) -> TextIO:
    if not Path(path).is_file():
        raise DataError("vectors_path must name a file, got a path without one", path=path)
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def _ends_in_number(word: str) -> bool:
    """Say whether a word with blanks ends in a value: then the line has one value too many."""
    _, blank, last = word.rpartition(" ")
    try:
        return bool(blank) and np.isfinite(float(last))
    except ValueError:
        return False


def _parse(path: str, line: int, values: list[str]) -> Vector:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"values must be numbers, got: {error}", path=path, line=line) from error
    if not np.isfinite(vector).all():
        raise DataError(
            f"values must be finite, got {vector[~np.isfinite(vector)][0]}", path=path, line=line
        )
    return vector
