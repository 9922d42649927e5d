"""Tables: CSV, TSV, JSON lines, Parquet and data sets of the Hugging Face hub."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Literal

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.rows import Row, read_csv, read_hub, read_json, read_parquet
from seqattn.data.readers.text_file import file_name, require_examples
from seqattn.errors import DataError

Format = Literal["csv", "tsv", "json", "parquet", "hub"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}


class Table(Reader):
    """Reads one example per row, from columns that are given by name.

    CSV has a comma between cells and double quotes around those that hold one; TSV has tabs, and
    no quotes. All their cells are strings, and ``NA`` is a word. JSON lines hold an object each,
    whose lists of strings or numbers stay lists (tokens, tags, series). Class numbers of Parquet
    files and of the hub become the class names that are stored with them.

    The key is the `key` column, or the file's name and the line; where there are no lines, the
    file's name or the split, and the number of the row from 1.

    Args:
        path: the file, plain or (text) ``.gz``; or a data set's name on the hub, a configuration
            after a colon: ``nyu-mll/glue:sst2``.
        source: the source's column; two columns make a pair of texts (a tuple).
        target: the target's column, which no row may leave empty; several columns make the list
            of their cells that are not empty (the labels of a multi-label task); None for no
            target.
        key: the column that holds the example's key.
        format: the file's format; None to tell it from the path's ending.
        split: which split of a hub data set.
        columns: the names of all columns of a CSV or TSV file without a header line.
        label_separator: splits a target into a list of labels; nothing at all gives no label.
        number: makes targets floats, for regression.
        encoding: encoding of a text file.

    Raises:
        ValueError: if an option does not go with the others, or the path's ending tells no format.
    """

    def __init__(
        self,
        path: str,
        source: str | list[str],
        target: str | list[str] | None = None,
        *,
        key: str | None = None,
        format: Format | None = None,
        split: str = "train",
        columns: list[str] | None = None,
        label_separator: str | None = None,
        number: bool = False,
        encoding: str = "utf-8",
    ) -> None:
        self.path = path
        self.source = source
        self.target = target
        self.key = key
        self.format = format or _tell_format(path)
        self.split = split
        self.columns = columns
        self.label_separator = label_separator
        self.number = number
        self.encoding = encoding
        self._check_options()

    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if the file breaks its format, a column is missing, a cell has no value or
                is no number where one must be, or there is no row; names the file, and the line
                where the format has lines.
        """
        return require_examples(map(self._example, self._rows()), self.path)

    def _check_options(self) -> None:
        if isinstance(self.source, list) and len(self.source) != 2:
            raise ValueError(f"source must be one column or two, got {self.source}")
        if self.target is None and (self.number or self.label_separator is not None):
            raise ValueError("number and label_separator need a target, got target None")
        if self.label_separator == "":
            raise ValueError("label_separator must hold a character or be None, got ''")
        if self.label_separator is not None and isinstance(self.target, list):
            raise ValueError(
                f"label_separator must be None where target names several columns, "
                f"got {self.label_separator!r}"
            )
        if self.columns is not None and self.format not in ("csv", "tsv"):
            raise ValueError(
                f"columns must be None for the format {self.format!r}, got {self.columns}"
            )
        if self.split != "train" and self.format != "hub":
            raise ValueError(f"split needs the format 'hub', got {self.split!r} for {self.path}")

    def _rows(self) -> Iterator[Row]:
        wanted = list(
            dict.fromkeys(_as_list(self.source) + _as_list(self.target) + _as_list(self.key))
        )
        match self.format:
            case "csv" | "tsv":
                return read_csv(
                    self.path,
                    wanted,
                    tabs=self.format == "tsv",
                    columns=self.columns,
                    encoding=self.encoding,
                )
            case "json":
                return read_json(self.path, wanted, encoding=self.encoding)
            case "parquet":
                return read_parquet(self.path, wanted)
            case "hub":
                return read_hub(self.path, wanted, split=self.split)

    def _example(self, row: Row) -> Example:
        source = [self._cell(name, row) for name in _as_list(self.source)]
        return Example(
            source=tuple(source) if isinstance(self.source, list) else source[0],
            target=self._target(row),
            key=self._key(row),
        )

    def _key(self, row: Row) -> str:
        if self.key is not None:
            return str(self._cell(self.key, row))
        place = self.split if self.format == "hub" else file_name(self.path)
        return f"{place}:{row[0]}"

    def _target(self, row: Row) -> Any:
        if self.target is None:
            return None
        if isinstance(self.target, list) and not self.number:
            return [row[1][name] for name in self.target if row[1][name] not in (None, "")]
        if isinstance(self.target, list):
            return [self._number(name, self._cell(name, row), row) for name in self.target]
        value = self._cell(self.target, row)
        if self.label_separator is not None:
            value = self._labels(self.target, value, row)
        elif not self.number and isinstance(value, str) and not value.strip():
            raise self._error(f"column {self.target!r} must hold a target, got {value!r}", row)
        return self._number(self.target, value, row) if self.number else value

    def _cell(self, name: str, row: Row) -> Any:
        value = row[1][name]
        if value is None:
            raise self._error(f"column {name!r} must have a value, got none", row)
        return value

    def _labels(self, name: str, value: Any, row: Row) -> list[str]:
        if not isinstance(value, str):
            raise self._error(
                f"column {name!r} must be a string for label_separator to split, got {value!r}", row
            )
        return [label.strip() for label in value.split(self.label_separator) if label.strip()]

    def _number(self, name: str, value: Any, row: Row) -> Any:
        """Return the float, or the floats, that a cell holds."""
        if isinstance(value, list):
            return [self._number(name, item, row) for item in value]
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self._error(f"column {name!r} must be a finite number, got {value!r}", row)
        return number

    def _error(self, message: str, row: Row) -> DataError:
        if self.format in ("parquet", "hub"):
            return DataError(f"{message} in row {row[0]}", path=self.path)
        return DataError(message, path=self.path, line=row[0])


def _tell_format(path: str) -> Format:
    suffix = PurePath(path.removesuffix(".gz")).suffix
    if suffix not in _FORMATS:
        raise ValueError(
            f"format must be given where the path ends in none of {', '.join(_FORMATS)}, "
            f"got path {path!r}"
        )
    return _FORMATS[suffix]


def _as_list(names: str | list[str] | None) -> list[str]:
    if names is None:
        return []
    return [names] if isinstance(names, str) else names
