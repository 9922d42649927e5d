"""Rows of table files and of the Hugging Face hub, through `datasets`, each with its number.

`datasets` parses text in blocks and can name no line, so text files are walked here first: for
their lines' numbers, and for faults that it would mend in silence (a missing cell, say).
"""

from __future__ import annotations

import csv
import glob
import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from seqattn.data.readers.text_file import find_codec, is_blank, missing_file, read_lines
from seqattn.errors import DataError

_LONGEST_CELL = 2**31 - 1  # characters, the most that every platform's csv module takes

Row = tuple[int, dict[str, Any]]
"""A row's number and its cells by column. A text file's rows have the number of their line."""


def read_csv(
    path: str, wanted: Sequence[str], *, tabs: bool, columns: list[str] | None, encoding: str
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file; every cell is a string.

    Args:
        path: the file, plain or ``.gz``.
        wanted: the columns to give.
        tabs: TSV: tabs between cells, and quotes are characters like others. CSV otherwise.
        columns: names of the columns where the file has no header line.
        encoding: the file's encoding.

    Raises:
        DataError: if a row has not as many cells as there are columns, a quote is not closed, or
            a wanted column is missing; names the file and the line.
    """
    from datasets import Features, Value

    numbers, header = _walk_csv(path, tabs, columns, encoding)
    require_columns(path, wanted, header)
    with _reported(path):
        rows = _load_file(
            "csv",
            path,
            sep="\t" if tabs else ",",
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            header=None,
            column_names=header,
            index_col=False,
            skip_blank_lines=False,
            keep_default_na=False,  # "NA" and "null" are words
            encoding=find_codec(encoding),
            features=Features({name: Value("string") for name in header}),
        )
        cells = list(rows.select_columns(list(wanted)))  # pandas closes the file at its end only
    for number, row in zip(numbers, cells, strict=True):
        if number is not None:
            yield number, row


def read_json(path: str, wanted: Sequence[str], *, encoding: str) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines; a wanted column that a line lacks is None.

    The lines are parsed here and not by `datasets`, whose JSON loader turns strings that look
    like dates into time stamps.

    Raises:
        DataError: if a line is not a JSON object, a wanted value is of no type of `datasets` or
            nested too deeply, the values of a column are of several kinds, or a wanted column is
            in no line; names the file and the line.
    """
    from datasets import Dataset

    rows = list(_parse_json(path, encoding))
    if not rows:
        return
    require_columns(path, wanted, list(dict.fromkeys(name for _, row in rows for name in row)))
    cells = {name: [row.get(name) for _, row in rows] for name in wanted}
    for name, values in cells.items():
        _require_one_kind(path, name, values, [number for number, _ in rows])
    with _reported(path):
        dataset = Dataset.from_dict(cells)
    for (number, _), row in zip(rows, dataset, strict=True):
        yield number, row


def read_parquet(path: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a Parquet file, counted from 1.

    Raises:
        DataError: if it is missing, is no Parquet file, or lacks a wanted column.
    """
    if not Path(path).is_file():
        raise missing_file(path)
    with _reported(path):
        dataset = _load_file("parquet", path)
        require_columns(path, wanted, dataset.column_names)
        yield from enumerate(_named(dataset, wanted), 1)


def read_hub(path: str, wanted: Sequence[str], *, split: str) -> Iterator[Row]:
    """Yield the rows of a data set of the Hugging Face hub, counted from 1.

    Args:
        path: the data set's name; a configuration follows after a colon (``nyu-mll/glue:sst2``).
        wanted: the columns to give.
        split: the data set's split.

    Raises:
        DataError: if it cannot be had, or lacks a wanted column.
    """
    import datasets

    name, _, configuration = path.partition(":")
    with _reported(path), _without_progress_bars():
        dataset = datasets.load_dataset(name, configuration or None, split=split)
    require_columns(path, wanted, dataset.column_names)
    yield from enumerate(_named(dataset, wanted), 1)


def require_columns(path: str, wanted: Sequence[str], columns: Sequence[str]) -> None:
    """Raise a DataError for the first wanted column that is not there, naming those that are."""
    for name in wanted:
        if name not in columns:
            raise DataError(
                f"the column must be one of {', '.join(map(repr, columns)) or '(none)'}, "
                f"got {name!r}",
                path=path,
            )


def _walk_csv(
    path: str, tabs: bool, columns: list[str] | None, encoding: str
) -> tuple[list[int | None], list[str]]:
    """Check the shape of a CSV file.

    Returns:
        the line where each row begins, None for the header and for blank lines; the columns.
    """
    header = columns
    numbers: list[int | None] = []
    start = 1
    with closing(_csv_cells(path, tabs, encoding)) as rows:
        for end, cells in rows:
            if cells and header is not None:
                _require_width(path, cells, header, start)
                numbers.append(start)
            else:
                header = _require_names(path, cells, start) if cells else header
                numbers.append(None)
            start = end + 1
    if not any(numbers) or header is None:
        raise DataError("the file must hold at least one example, got none", path=path)
    return numbers, header


def _csv_cells(path: str, tabs: bool, encoding: str) -> Generator[tuple[int, list[str]]]:
    """Yield the cells of each row and the line where it ends; none for a blank line."""
    text = (f"{line}\n" for _, line in read_lines(path, encoding))
    if tabs:
        rows = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(text, strict=True)
    limit = csv.field_size_limit(_LONGEST_CELL)  # a cell may hold a long document
    try:
        for cells in rows:
            yield rows.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"the row must be {'TSV' if tabs else 'CSV'}: {error}", path=path, line=rows.line_num
        ) from None
    finally:
        csv.field_size_limit(limit)


def _require_names(path: str, names: list[str], line: int) -> list[str]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"column names must differ, got {twice[0]!r} twice", path=path, line=line)
    return names


def _require_width(path: str, cells: list[str], header: list[str], line: int) -> None:
    if len(cells) != len(header):
        raise DataError(
            f"a row must have {len(header)} cells ({', '.join(header)}), got {len(cells)}",
            path=path,
            line=line,
        )


def _parse_json(path: str, encoding: str) -> Iterator[Row]:
    for number, line in read_lines(path, encoding):
        if is_blank(line):
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"a line must be a JSON object: {error.msg} at column {error.colno}",
                path=path,
                line=number,
            ) from None
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits; lists in lists
            raise DataError(
                f"a line must be a JSON object: {error}", path=path, line=number
            ) from None
        if not isinstance(row, dict):
            raise DataError(
                f"a line must be a JSON object, got {type(row).__name__}", path=path, line=number
            )
        yield number, row


def _require_one_kind(path: str, name: str, values: list[Any], lines: list[int]) -> None:
    """Raise where a column's values change their kind, which `datasets` cannot hold."""
    kinds: set[str] = set()
    for value, line in zip(values, lines, strict=True):
        try:
            _require_representable(value)
            kinds |= _kinds(value)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"column {name!r} cannot be read: {error}", path=path, line=line
            ) from None
        if len(kinds) > 1:
            raise DataError(
                f"the values of column {name!r} must be of one kind, "
                f"got {' and '.join(sorted(kinds))}",
                path=path,
                line=line,
            )


def _require_representable(value: Any) -> None:
    """Raise for what JSON allows and `datasets` has no type for."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"a whole number must fit into 64 bits, got {value}")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise ValueError(f"text must be Unicode, got half a character, {half!a}") from None
    items = value.values() if isinstance(value, dict) else value
    for item in items if isinstance(value, dict | list) else ():
        _require_representable(item)


def _kinds(value: Any) -> set[str]:
    """Return the kinds of a JSON value; none for null and for an empty list."""
    if value is None:
        return set()
    if isinstance(value, list):
        return {f"list of {kind}" for item in value for kind in _kinds(item)}
    if isinstance(value, bool):
        return {"true or false"}
    if isinstance(value, int | float):
        return {"number"}
    return {"string"} if isinstance(value, str) else {"object"}


def _load_file(kind: str, path: str, **options: Any) -> Any:
    """Return one file as a streamed data set, which leaves nothing in the cache."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        return datasets.load_dataset(
            kind,
            data_files={"train": glob.escape(path)},
            split="train",
            streaming=True,
            cache_dir=cache,
            **options,
        )


def _named(dataset: Any, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows with class numbers replaced by the names that the data set has for them."""
    from datasets import ClassLabel

    labels = {}
    for name in wanted:
        feature = dataset.features[name]
        feature = getattr(feature, "feature", feature)  # of a list, that of its items
        if isinstance(feature, ClassLabel):
            labels[name] = feature.int2str
    for row in dataset.select_columns(list(wanted)):
        yield {
            name: labels[name](value) if name in labels and value is not None else value
            for name, value in row.items()
        }


@contextmanager
def _reported(path: str) -> Iterator[None]:
    """Name the file, or the data set, in whatever `datasets` and what it rests on raise."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{type(error).__name__}: {error}", path=path) from error


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
