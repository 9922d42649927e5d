"""Sound files whose names say what they are."""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Literal

from seqattn.batch import Example
from seqattn.data.readers.audio_files import SoundFile, list_sound_files
from seqattn.data.readers.base import Reader
from seqattn.errors import DataError

Filter = dict[str, list[str | int]]
"""Values of named groups; ``"0-4"`` is the range of whole numbers."""

_RANGE = re.compile(r"(\d+)-(\d+)")
_MOST_LISTED = 10

_logger = logging.getLogger(__name__)


class AudioNames(Reader):
    """Reads sound files whose names hold label, speaker and whatever else, by a pattern.

    ``{label}_{speaker}_{index}.wav`` takes ``7_theo_12.wav`` apart into three groups. A group is
    as short as it can be, holds at least one character, and no slash; a pattern with slashes is
    compared with as many folders above the file. The key is the file's name, its folders
    included.

    Args:
        path: a folder or a zip archive.
        pattern: the names, with groups in braces.
        target: the group that is the target; None for no target.
        where: by group, the values to keep: ``{"speaker": ["theo"], "index": ["5-49"]}``. A range
            of whole numbers is kept with both its ends.
        exclude: by group, the values to leave out; otherwise as `where`.
        unmatched: whether a sound file whose name is not of the pattern is an ``error``, or is
            left out (``skip``); how many were is logged.

    Raises:
        ValueError: if the pattern has no group, one twice, or none of a name that is used, or a
            range is empty.
        TypeError: if a group's values are no list.
    """

    def __init__(
        self,
        path: str,
        pattern: str,
        *,
        target: str | None = "label",
        where: Filter | None = None,
        exclude: Filter | None = None,
        unmatched: Literal["error", "skip"] = "error",
    ) -> None:
        self.path = path
        self.pattern = pattern
        self.target = target
        self.where = where or {}
        self.exclude = exclude or {}
        self.unmatched = unmatched
        self.groups = _read_groups(pattern)
        used = [*([] if target is None else [target]), *self.where, *self.exclude]
        for name in used:
            if name not in self.groups:
                raise ValueError(
                    f"pattern must have the groups that are used, got none {name!r} in {pattern!r}"
                )
        for name, values in [*self.where.items(), *self.exclude.items()]:
            _check_values(name, values)
        if unmatched not in ("error", "skip"):
            raise ValueError(f"unmatched must be error or skip, got {unmatched!r}")

    def read(self) -> Iterator[Example]:
        """Yield the files that are kept, by name.

        Raises:
            DataError: if there is no such folder or archive, a name is not of the pattern, no file
                has one of the values to keep or leave out, or no file is kept.
        """
        matched = list(self._matched())
        self._require_known([groups for _, groups in matched])
        kept = 0
        for (name, source), groups in matched:
            if self._keeps(groups):
                kept += 1
                target = None if self.target is None else groups[self.target]
                yield Example(source=source, target=target, key=str(name))
        if not kept:
            raise DataError(
                f"where and exclude must keep a file of the pattern {self.pattern!r}, "
                f"got where {self.where} and exclude {self.exclude}",
                path=self.path,
            )

    def _matched(self) -> Iterator[tuple[SoundFile, dict[str, str]]]:
        depth = self.pattern.count("/") + 1
        expression = _compile(self.pattern)
        files = list_sound_files(self.path)
        skipped = 0
        for file in files:
            match = expression.fullmatch(str(PurePosixPath(*file[0].parts[-depth:])))
            if match is not None:
                yield file, match.groupdict()
            elif self.unmatched == "skip":
                skipped += 1
            else:
                raise DataError(
                    f"the name of a sound file must be of the pattern {self.pattern!r}, got "
                    f"{str(file[0])!r}: change it, or leave such files out with unmatched='skip'",
                    path=self.path,
                )
        if skipped:
            _logger.info(
                "%s: %d of %d sound files are not of the pattern %r and were left out",
                *(self.path, skipped, len(files), self.pattern),
            )

    def _require_known(self, files: list[dict[str, str]]) -> None:
        """Refuse values that no file has: a misspelt one would keep what it should leave out."""
        for name, values in [*self.where.items(), *self.exclude.items()]:
            found = {groups[name] for groups in files}
            for value in values:
                if found and not any(_holds([value], text) for text in found):
                    raise DataError(
                        f"a value of group {name!r} must be that of a file, got {value!r} "
                        f"and files of {_listed(found)}",
                        path=self.path,
                    )

    def _keeps(self, groups: Mapping[str, str]) -> bool:
        return all(_holds(values, groups[name]) for name, values in self.where.items()) and not any(
            _holds(values, groups[name]) for name, values in self.exclude.items()
        )


def _read_groups(pattern: str) -> list[str]:
    """Return the names of a pattern's groups."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"pattern must close its braces, got {pattern!r}: {error}") from None
    groups = [name for _, name, _, _ in parts if name is not None]
    if not groups or any(not name.isidentifier() for name in groups):
        raise ValueError(f"pattern must have groups such as {{label}}, got {pattern!r}")
    if len(set(groups)) < len(groups):
        raise ValueError(f"pattern must have each group once, got {pattern!r}")
    return groups


def _compile(pattern: str) -> re.Pattern[str]:
    parts = string.Formatter().parse(pattern)
    return re.compile(
        "".join(
            re.escape(text) + (f"(?P<{name}>[^/]+?)" if name is not None else "")
            for text, name, _, _ in parts
        )
    )


def _check_values(name: str, values: object) -> None:
    if not isinstance(values, list):
        raise TypeError(f"the values of group {name!r} must be a list, got {values!r}")
    for value in values:
        limits = _RANGE.fullmatch(str(value))
        if limits and int(limits[1]) > int(limits[2]):
            raise ValueError(f"a range of group {name!r} must not be empty, got {value!r}")


def _listed(values: set[str]) -> str:
    first, rest = sorted(values)[:_MOST_LISTED], len(values) - _MOST_LISTED
    return ", ".join(map(repr, first)) + (f" and {rest} others" if rest > 0 else "")


def _holds(values: list[str | int], text: str) -> bool:
    """Return whether one of the values, or ranges, is that text."""
    number = int(text) if text.isdecimal() else None
    for value in map(str, values):
        limits = _RANGE.fullmatch(value)
        if value == text or (number is not None and value.isdecimal() and int(value) == number):
            return True
        if number is not None and limits and int(limits[1]) <= number <= int(limits[2]):
            return True
    return False
