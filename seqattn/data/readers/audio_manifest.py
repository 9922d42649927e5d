"""A table that lists sound files, or stretches of them, and what they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.rows import Row, read_csv, read_json
from seqattn.data.readers.text_file import is_blank, read_lines, require_examples
from seqattn.errors import DataError
from seqattn.sound import AudioClip

_JSON = (".json", ".jsonl", ".ndjson")
_SUFFIXES = (".csv", ".tsv", *_JSON)


class AudioManifest(Reader):
    """Reads a table of sound files: a row per file or stretch, with its label or text.

    CSV, TSV (both with a header line) and JSON lines, told by the ending; plain or ``.gz``.
    Relative paths start at the manifest's folder. The key is the path as the row gives it, and
    the stretch: ``talk.wav:1.5-4``.

    Args:
        path: the manifest.
        source: the column of the sound files' paths.
        target: the column of the target: a label, a text, or the path of a file of segments; None
            for no target.
        segments: whether the target column names files of segments, as Audacity exports its label
            tracks: lines of start, end (in seconds of the sound file) and label, with tabs
            between. Of a stretch, the segments are cut at its ends and count from its start.
        start: the column of the second where a stretch begins; an empty cell is the file's start.
        end: the column of the second where it ends; an empty cell is the file's end.
        encoding: encoding of the manifest and of the files of segments.

    Raises:
        ValueError: if the path's ending tells no format, or there are segments without a target.
    """

    def __init__(
        self,
        path: str,
        *,
        source: str = "path",
        target: str | None = "label",
        segments: bool = False,
        start: str | None = None,
        end: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if _suffix(path) not in _SUFFIXES:
            raise ValueError(f"path must end in one of {', '.join(_SUFFIXES)}, got {path!r}")
        if segments and target is None:
            raise ValueError("segments need a target, the column of their files, got target None")
        self.path = path
        self.source = source
        self.target = target
        self.segments = segments
        self.start = start
        self.end = end
        self.encoding = encoding

    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if the manifest or a file of segments breaks its format, a column or cell
                is missing, a stretch has no length, or a file is not there; names file and line.
        """
        return require_examples(map(self._example, self._rows()), self.path)

    def _rows(self) -> Iterator[Row]:
        named = (self.source, self.target, self.start, self.end)
        wanted = list(dict.fromkeys(name for name in named if name is not None))
        if _suffix(self.path) in _JSON:
            return read_json(self.path, wanted, encoding=self.encoding)
        tabs = _suffix(self.path) == ".tsv"
        return read_csv(self.path, wanted, tabs=tabs, columns=None, encoding=self.encoding)

    def _example(self, row: Row) -> Example:
        name = self._cell(self.source, row)
        path = self._file("sound file", name, row)
        start, end = self._seconds(self.start, row), self._seconds(self.end, row)
        if start is None and end is None:
            return Example(path, self._target(row, 0.0, math.inf), str(name))
        try:
            clip = AudioClip(path, start or 0.0, end)
        except ValueError as error:
            raise self._error(str(error), row) from None
        key = f"{name}:{clip.start:g}-{'' if end is None else f'{end:g}'}"
        return Example(clip, self._target(row, clip.start, math.inf if end is None else end), key)

    def _target(self, row: Row, start: float, end: float) -> Any:
        if self.target is None:
            return None
        value = self._cell(self.target, row)
        if not self.segments:
            return value
        path = self._file("file of segments", value, row)
        return [
            (max(first, start) - start, min(last, end) - start, label)
            for first, last, label in _read_segments(path, self.encoding)
            if first < end and last > start
        ]

    def _cell(self, name: str, row: Row) -> Any:
        value = row[1][name]
        if value is None or (isinstance(value, str) and not value.strip()):
            raise self._error(f"column {name!r} must have a value, got {value!r}", row)
        return value

    def _file(self, kind: str, name: Any, row: Row) -> str:
        """Return the path of a file that is there."""
        path = Path(self.path).parent / str(name)
        if not path.is_file():
            raise self._error(f"the {kind} must exist, got no {str(path)!r}", row)
        return str(path)

    def _seconds(self, name: str | None, row: Row) -> float | None:
        value = None if name is None else row[1][name]
        if value is None or value == "":
            return None
        seconds = _read_number(value)
        if seconds is None:
            raise self._error(f"column {name!r} must be a number of seconds, got {value!r}", row)
        return seconds

    def _error(self, message: str, row: Row) -> DataError:
        return DataError(message, path=self.path, line=row[0])


def _suffix(path: str) -> str:
    return PurePath(path.removesuffix(".gz")).suffix.lower()


def _read_number(value: Any) -> float | None:
    """Return a finite number, or None for what is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _read_segments(path: str, encoding: str) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and label of each line; Audacity's second lines, of pitch, are left out."""
    for number, line in read_lines(path, encoding):
        if is_blank(line) or line.startswith("\\"):
            continue
        cells = line.split("\t")
        start, end = (_read_number(cell) for cell in (*cells, "", "")[:2])
        if len(cells) != 3 or not cells[2].strip() or start is None or end is None:
            raise DataError(
                f"a line must be start, end and label with tabs between, got {line!r:.60}",
                path=path,
                line=number,
            )
        if not 0 <= start < end:
            raise DataError(
                f"a segment must start at 0 seconds or later and end after that, got {line!r:.60}",
                path=path,
                line=number,
            )
        yield start, end, cells[2].strip()
