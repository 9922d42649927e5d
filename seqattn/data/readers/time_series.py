"""The ``.ts`` files of the UEA and UCR archives: one labelled multivariate series a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import file_name, is_blank, read_lines, require_examples
from seqattn.errors import DataError


class TimeSeries(Reader):
    """Reads series of any lengths: channels separated by ``:``, steps by ``,``, the class last.

    An example's source is an array (L, F) of F channels, its target the class, or the number where
    the header says ``@targetLabel true``, or None where it says neither. Its key is the file's name
    and the line.

    Args:
        path: the file, plain or ``.gz``.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if the header or a line breaks the format, a value is missing, or there is
                no series; names the file and the line.
        """
        return require_examples(self._examples(), self.path)

    def _examples(self) -> Iterator[Example]:
        header: _Header | None = None
        fields: dict[str, list[str]] = {}
        for number, line in read_lines(self.path):
            text = line.strip()
            if is_blank(text) or text.startswith("#"):
                continue
            if header is not None:
                yield self._series(header, text, number)
            elif text.lower() == "@data":
                header = self._header(fields, number)
            elif text.startswith("@"):
                name, *values = text[1:].split()
                fields[name.lower()] = values
            else:
                raise self._error(f"the header's lines must begin with @, got {text!r:.40}", number)
        if header is None:
            raise self._error("the file must have a line @data, got none", None)

    def _header(self, fields: dict[str, list[str]], number: int) -> _Header:
        """Return what the lines before ``@data`` say."""
        if _says(fields, "timestamps"):
            raise self._error("the header must say @timeStamps false, got true", number)
        count = fields.get("dimensions", ["1"] if _says(fields, "univariate") else [])
        if count and not count[0].isdecimal():
            raise self._error(f"@dimensions must be a whole number, got {count[0]!r}", number)
        has_class = _says(fields, "classlabel")
        return _Header(
            channels=int(count[0]) if count else None,
            has_target=has_class or _says(fields, "targetlabel"),
            classes=frozenset(fields["classlabel"][1:]) if has_class else frozenset(),
        )

    def _series(self, header: _Header, text: str, number: int) -> Example:
        channels = text.split(":")
        target = channels.pop().strip() if header.has_target else None
        if not channels or header.channels not in (None, len(channels)):
            raise self._error(
                f"a line must have {header.channels or 'some'} channels"
                f"{' and a label' if header.has_target else ''}, got {len(channels)} channels",
                number,
            )
        if header.classes and target not in header.classes:
            allowed = ", ".join(sorted(header.classes))
            raise self._error(f"the class must be one of {allowed}, got {target!r}", number)
        columns = [self._column(channel, number) for channel in channels]
        lengths = {len(column) for column in columns}
        if len(lengths) > 1:
            raise self._error(
                f"channels of a line must be equally long, got {sorted(lengths)} steps", number
            )
        return Example(np.array(columns).T, target, f"{file_name(self.path)}:{number}")

    def _column(self, channel: str, number: int) -> list[float]:
        """Return the L steps of one channel."""
        steps = channel.split(",")
        column = [_number(step) for step in steps]
        for step, value in zip(steps, column, strict=True):
            if not isfinite(value):
                raise self._error(f"a value must be a finite number, got {step!r}", number)
        return column

    def _error(self, message: str, line: int | None) -> DataError:
        return DataError(message, path=self.path, line=line)


@dataclass(frozen=True)
class _Header:
    """What a file says of its lines: their channels, and what stands last."""

    channels: int | None
    has_target: bool
    classes: frozenset[str]


def _says(fields: dict[str, list[str]], name: str) -> bool:
    """Return whether the header says true of a field."""
    return fields.get(name, [""])[:1] == ["true"]


def _number(text: str) -> float:
    """Return what a text says; NaN where that is no number."""
    try:
        return float(text)
    except ValueError:
        return nan
