"""Types of arguments in words."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence


def wanted(types: Sequence[str]) -> str:
    """Return types as a user reads them, such as ``'full', 'causal' or a Pattern``.

    Args:
        types: as Python writes them, such as ``typing.Literal['full', 'causal']``.
    """
    words = [word for kind in types for word in _words(kind)]
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def choices(types: Sequence[str]) -> list[str]:
    """Return the strings that a value may be."""
    return [value for kind in types for value in _literals(kind) if isinstance(value, str)]


def _words(kind: str) -> list[str]:
    values = _literals(kind)
    if values:
        return [repr(value) for value in values]
    if "Union[" in kind:
        return ["a list of these"]
    name = re.sub(r"<class '([\w.]+)'>", r"\1", kind)
    short = re.sub(r"(?:\w+\.)+(\w+)", r"\1", name)
    if short == "NoneType":
        return ["null"]
    return [f"a {short}" if name != short and short.isidentifier() else short]


def _literals(kind: str) -> list[object]:
    found = re.fullmatch(r"typing\.Literal(\[.*\])", kind)
    return list(ast.literal_eval(found[1])) if found else []
