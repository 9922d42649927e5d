"""Text files, plain or gzip: their lines, numbered, and what goes wrong with them."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from seqattn.batch import Example
from seqattn.errors import DataError

Line = tuple[int, str]
"""A line's number, from 1, and its text without the line's end."""

_BLANKS = re.compile(r"[ \t]+")


def read_lines(path: str, encoding: str = "utf-8") -> Iterator[Line]:
    r"""Yield the lines of a file, each with its number.

    A path that ends in ``.gz`` is unpacked on the way, a byte order mark is dropped. Lines end in
    ``\n`` or ``\r\n``; no other character ends one, so that parallel files stay parallel.

    Args:
        path: the file; a relative path starts at the working directory.
        encoding: the file's encoding, by Python's name.

    Raises:
        DataError: if the file is missing, cannot be read or unpacked, or is not in that encoding.
        ValueError: if Python does not know the encoding.
    """
    codec = find_codec(encoding)
    with (
        _reported(path, encoding),
        open_bytes(path) as file,
        io.TextIOWrapper(file, codec, newline="\n") as text,
    ):
        for number, line in enumerate(text, 1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def read_blocks(path: str, encoding: str = "utf-8") -> Iterator[list[Line]]:
    """Yield the runs of lines between blank lines; as :func:`read_lines` otherwise."""
    block: list[Line] = []
    for number, line in read_lines(path, encoding):
        if not is_blank(line):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def find_codec(encoding: str) -> str:
    """Return Python's name of the codec; the one for UTF-8 drops a byte order mark.

    Raises:
        ValueError: if there is no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(f"encoding must be one that Python knows, got {encoding!r}") from None
    return "utf-8-sig" if name == "utf-8" else name


def open_bytes(path: str) -> BinaryIO:
    """Open a file for its bytes, unpacked where its name ends in ``.gz``."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.endswith(".gz") else open(path, "rb")


def is_blank(line: str) -> bool:
    """Return whether a line holds nothing but spaces and tabs."""
    return not line.strip(" \t")


def split_blanks(line: str) -> list[str]:
    """Return the parts of a line between spaces and tabs.

    ``str.split`` would also split at no-break and ideographic spaces, which belong to tokens.
    """
    stripped = line.strip(" \t")
    return _BLANKS.split(stripped) if stripped else []


def file_name(path: str) -> str:
    """Return what keys call a file: its name without its folder."""
    return Path(path).name


def require_examples(examples: Iterator[Example], path: str) -> Iterator[Example]:
    """Yield the examples.

    Raises:
        DataError: if there is none.
    """
    first = next(examples, None)
    if first is None:
        raise DataError("the file must hold at least one example, got none", path=path)
    yield first
    yield from examples


def missing_file(path: str) -> DataError:
    """Return the error of a file that is not there."""
    where = "" if Path(path).is_absolute() else f" under the working directory {os.getcwd()}"
    return DataError(f"the file must exist, got no such file{where}", path=path)


@contextmanager
def _reported(path: str, encoding: str) -> Iterator[None]:
    """Turn what opening and decoding raise into errors that name the file and the line."""
    try:
        yield
    except FileNotFoundError:
        raise missing_file(path) from None
    except UnicodeError as error:
        line = _find_undecodable(path, find_codec(encoding))
        raise DataError(
            f"the text must be in {encoding!r}, got {_describe(error)}: pass the file's own "
            f"encoding, such as encoding='latin-1'",
            path=path,
            line=line,
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file must be gzip data as its name says: {error}", path=path
        ) from None
    except OSError as error:
        raise DataError(f"the file must be readable: {error.strerror}", path=path) from None


def _describe(error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x} ({error.reason})"
    return str(error)


def _find_undecodable(path: str, codec: str) -> int:
    """Return the number of the first line that does not decode; the text layer does not tell."""
    decoder = codecs.getincrementaldecoder(codec)()
    line = 1
    with open_bytes(path) as file:
        for piece in file:
            try:
                line += decoder.decode(piece).count("\n")
            except UnicodeError:
                break
    return line
