"""What a message of jsonargparse says: which key, which class, and what is wrong there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent
from typing import NamedTuple

Parts = tuple[str, ...]

_LEVEL = re.compile(
    r"^(?P<indent> *)(?:- )?(?:Parser key \"(?P<key>[^\"]*)\"|"
    r"Problem with given class_path '(?P<name>[^']+)'):"
)


@dataclass(frozen=True)
class Complaint:
    """The innermost complaint of a message, which tells of one level within another.

    Args:
        key: the whole key, without `init_args`; empty where the message names none.
        class_path: the class whose arguments are wrong, or which cannot be had; "" for none.
        body: what is said about it, without indentation.
    """

    key: Parts
    class_path: str
    body: str

    @property
    def value(self) -> str:
        """The value that was refused, as text; "" where the message does not say it."""
        found = re.findall(r"(?:Given value|Got value): (.*)", self.body)
        return found[-1].strip() if found else self.class_path

    @property
    def expected(self) -> list[str]:
        """The types that would do, as Python writes them."""
        union = re.search(r"Subtypes: \[(.*)\]$", self.body, re.MULTILINE)
        if union:
            return _split(union[1])
        single = re.search(r"Expected an? (.+?)\. Got value", self.body)
        return [single[1]] if single else []

    @property
    def last_line(self) -> str:
        """The last line that says something."""
        lines = [line.strip(" -") for line in self.body.splitlines() if line.strip(" -")]
        return lines[-1] if lines else "the command line could not be read"


class _Level(NamedTuple):
    indent: int
    line: int
    key: Parts
    class_path: str


def read_complaint(message: str) -> Complaint:
    """Return the innermost complaint; the first of several that lie equally deep."""
    lines = message.splitlines()
    stack: list[_Level] = []
    deepest: list[_Level] = []
    for number, line in enumerate(lines):
        found = _LEVEL.match(line)
        if found is None:
            continue
        indent = len(found["indent"])
        stack = [level for level in stack if level.indent < indent]
        stack.append(_Level(indent, number, _parts(found["key"]), found["name"] or ""))
        deepest = list(stack) if len(stack) > len(deepest) else deepest
    if not deepest:
        return Complaint((), "", message)
    key = tuple(part for level in _without_echo(deepest) for part in level.key)
    return Complaint(key, deepest[-1].class_path, _body(lines, deepest[-1]) or message)


def _without_echo(levels: list[_Level]) -> list[_Level]:
    """Leave out a level that says the key of the level around it once more."""
    pairs = zip(levels, [None, *levels], strict=False)
    return [own for own, outer in pairs if not outer or not own.key or own.key != outer.key]


def _parts(key: str | None) -> Parts:
    return tuple(part for part in (key or "").split(".") if part not in ("", "init_args"))


def _body(lines: list[str], level: _Level) -> str:
    """Return the lines below a level: those that are indented more."""
    below = []
    for line in lines[level.line + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= level.indent:
            break
        below.append(line)
    return dedent("\n".join(below)).strip("\n")


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotes."""
    items, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == "'"
        depth += (character == "[") - (character == "]") if not quoted else 0
        if character == "," and not depth and not quoted:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items]
