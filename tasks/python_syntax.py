"""Syntactic roles: for every token of Python source, what it is there for.

This is no task, but what the task on roles rests on: the lexer and the syntax tree of the running
Python, brought together. The tree says a node's place in UTF-8 bytes and the lexer a token's in
characters; through these places every name gets its role from the node that it belongs to.

A string is one token on every version of Python, an f-string too: names inside it are not seen.
So one text gives the same tokens on Python 3.11, whose lexer leaves f-strings whole, and on later
versions, whose lexer does not.
"""

from __future__ import annotations

import ast
import io
import keyword
import token
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seqattn import DataError

LEXICAL_ROLES: tuple[str, ...] = (
    *("keyword", "constant", "operator", "number", "string"),  # constant: True, False, None
    *("newline", "indent", "dedent"),
)

CONTEXT_ROLES: tuple[str, ...] = (
    "defined_function",
    "defined_class",
    "parameter",
    "called_function",  # a bare name before the bracket of a call
    "called_method",  # the last name of `a.b.c(...)`
    "attribute",  # any other name after a dot
    "module",  # a dotted part of what is imported, or imported from
    "imported_name",
    "import_alias",
    "variable_written",  # bound or deleted
    "variable_read",
    "annotation",  # any name in a type annotation, and a type parameter
    "keyword_argument",
    "decorator",  # this and the next three: the last name of a dotted path
    "base_class",
    "raised_exception",
    "caught_exception",
    "scope_name",  # after `global` and `nonlocal`
)

OTHER = "other"
"""Role of a name that no rule covers: none in the tasks' modules, on Python 3.11 to 3.13. (Python
3.11's lexer tears a name apart at a combining mark, and its pieces are such names.)"""

ROLES: tuple[str, ...] = (*LEXICAL_ROLES, *CONTEXT_ROLES, OTHER)

STRING_CHARACTERS = 20
"""How much of a string literal a token shows, quotes and prefix included."""

_LAYOUT = {token.NEWLINE: "newline", token.INDENT: "indent", token.DEDENT: "dedent"}
_LITERALS = {token.NUMBER: "number", token.STRING: "string"}
_UNSEEN = {token.COMMENT, token.NL, token.ENDMARKER, token.ENCODING}
_CONSTANTS = {"True", "False", "None"}

# Python 3.12 splits f-strings, and 3.14 t-strings, into tokens of their own.
_OPENING = {getattr(token, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_CLOSING = {getattr(token, name, -1) for name in ("FSTRING_END", "TSTRING_END")}
_OPAQUE = {"JoinedStr", "TemplateStr"}

Position = tuple[int, int]
"""``(line, column)``: lines from 1, columns in UTF-8 bytes from 0, as in `ast`."""


def is_context(role: str) -> bool:
    """Return whether only the context tells this role, and not the token's spelling."""
    return role in CONTEXT_ROLES


@dataclass(frozen=True)
class LabelledTokens:
    """Tokens of one source text, as a model sees them.

    Args:
        texts: a string cut to :data:`STRING_CHARACTERS` characters, with white space made one
            blank; layout as ``<newline>``, ``<indent>`` and ``<dedent>``; all else as written.
            Comments and blank lines are left out.
        roles: one of :data:`ROLES` for each.
        lines: the line, from 1, in which each begins.
    """

    texts: list[str]
    roles: list[str]
    lines: list[int]


def label_tokens(source: str) -> LabelledTokens:
    """Return the tokens of Python source with their roles.

    Raises:
        DataError: if the running Python cannot parse the source; names the line.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tree = _parse(source)
    tokens = _lex(source)
    marker = _RoleMarker(tokens)
    for node in _walk(tree):  # parents come before children, and the first role stays
        marker.visit(node)
    roles = [role or OTHER for role in tokens.roles]
    return LabelledTokens(tokens.texts, roles, tokens.lines)


@dataclass
class _Tokens:
    """Tokens of one source, with the way from a place in the text to a token's number."""

    texts: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)  # "" for a name that has no role yet
    lines: list[int] = field(default_factory=list)
    starts: dict[Position, int] = field(default_factory=dict)
    ends: dict[Position, int] = field(default_factory=dict)

    def append(self, text: str, role: str, start: Position, end: Position) -> None:
        # Layout has no width: it must not hide the token that stands in the same place.
        if role not in ("indent", "dedent", "newline"):
            self.starts[start] = self.ends[end] = len(self.texts)
        self.texts.append(text)
        self.roles.append(role)
        self.lines.append(start[0])

    def first(self, node: Any) -> int:
        return self.starts[node.lineno, node.col_offset]

    def last(self, node: Any) -> int:
        return self.ends[node.end_lineno, node.end_col_offset]

    def give(self, index: int, role: str) -> None:
        """Give a name its role, unless it has one."""
        self.roles[index] = self.roles[index] or role

    def give_all(self, first: int, last: int, role: str) -> None:
        for index in range(first, last + 1):
            self.give(index, role)

    def back_to(self, index: int, text: str) -> int:
        """Return the nearest token with that text before a token."""
        index -= 1
        while self.texts[index] != text:
            index -= 1
        return index


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes and the like are the author's business
            return ast.parse(source)
    except (SyntaxError, ValueError) as error:  # ValueError: null characters, lone surrogates
        raise DataError(f"source must be valid Python, got {error}") from error


def _lex(source: str) -> _Tokens:
    lines = source.split("\n")
    tokens = _Tokens()
    for kind, text, start, end in _whole_strings(source, lines):
        shown, role = _describe(kind, text)
        tokens.append(shown, role, _in_bytes(lines, start), _in_bytes(lines, end))
    return tokens


def _whole_strings(source: str, lines: list[str]) -> Iterator[tuple[int, str, Position, Position]]:
    """Yield kind, text, start and end of every token to be seen, an f-string as one string."""
    depth, opened = 0, (0, 0)
    for kind, text, start, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind in _OPENING:
            opened = opened if depth else start
            depth += 1
        elif kind in _CLOSING:
            depth -= 1
            if depth == 0:
                yield token.STRING, _text_between(lines, opened, end), opened, end
        elif depth == 0 and kind not in _UNSEEN:
            yield kind, text, start, end


def _text_between(lines: list[str], start: Position, end: Position) -> str:
    rows = "\n".join(lines[start[0] - 1 : end[0]])
    return rows[start[1] : len(rows) - len(lines[end[0] - 1]) + end[1]]


def _in_bytes(lines: list[str], position: Position) -> Position:
    """Turn a column in characters, as `tokenize` counts, into one in bytes, as `ast` does."""
    row, column = position
    line = lines[row - 1] if row <= len(lines) else ""
    return position if line.isascii() else (row, len(line[:column].encode()))


def _describe(kind: int, text: str) -> tuple[str, str]:
    """Return what a token shows, and its role; no role yet for a name."""
    if kind == token.NAME:
        if text in _CONSTANTS:
            return text, "constant"
        return text, "keyword" if keyword.iskeyword(text) else ""
    if kind == token.STRING:
        return " ".join(text.split())[:STRING_CHARACTERS], "string"
    if kind in _LAYOUT:
        return f"<{_LAYOUT[kind]}>", _LAYOUT[kind]
    return text, _LITERALS.get(kind, "operator")


def _walk(node: ast.AST) -> Iterator[Any]:
    """Yield a node and all below it, parents before children, but nothing of an f-string."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if type(node).__name__ not in _OPAQUE:
            yield node
            waiting.extend(ast.iter_child_nodes(node))


class _RoleMarker(ast.NodeVisitor):
    """Gives the names that belong to a node their roles; a node's children are visited later."""

    def __init__(self, tokens: _Tokens) -> None:
        self.tokens = tokens
        self.give = tokens.give

    def generic_visit(self, node: ast.AST) -> None:
        """Do nothing: most nodes have no name of their own."""

    def visit_Name(self, node: ast.Name) -> None:
        is_read = isinstance(node.ctx, ast.Load)
        self.give(self.tokens.first(node), "variable_read" if is_read else "variable_written")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.give(self.tokens.last(node), "attribute")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name | ast.Attribute):
            is_bare = isinstance(node.func, ast.Name)
            role = "called_function" if is_bare else "called_method"
            self.give(self.tokens.last(node.func), role)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg is not None:  # None in f(**options)
            self.give(self.tokens.first(node), "keyword_argument")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        is_async = isinstance(node, ast.AsyncFunctionDef)
        self.give(self.tokens.first(node) + (2 if is_async else 1), "defined_function")
        self._give_annotation(node.returns)
        for decorator in node.decorator_list:
            self._give_path(decorator, "decorator")

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_arg(self, node: ast.arg) -> None:
        self.give(self.tokens.first(node), "parameter")
        self._give_annotation(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._give_annotation(node.annotation)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.give(self.tokens.first(node) + 1, "defined_class")
        for decorator in node.decorator_list:
            self._give_path(decorator, "decorator")
        for base in node.bases:
            self._give_path(base, "base_class")

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        first, last = self.tokens.first, self.tokens.last
        for alias in node.names:
            if alias.asname is not None:
                self.give(last(alias), "import_alias")
            role = "module" if isinstance(node, ast.Import) else "imported_name"
            self.tokens.give_all(first(alias), last(alias), role)
        self.tokens.give_all(first(node), first(node.names[0]), "module")

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.tokens.give_all(self.tokens.first(node), self.tokens.last(node), "scope_name")

    visit_Nonlocal = visit_Global  # noqa: N815

    def visit_Raise(self, node: ast.Raise) -> None:
        self._give_path(node.exc, "raised_exception")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        for caught in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
            self._give_path(caught, "caught_exception")
        if node.name is not None:
            name = self.tokens.texts.index("as", self.tokens.last(node.type)) + 1
            self.give(name, "variable_written")

    def visit_Match(self, node: ast.Match) -> None:
        self.give(self.tokens.first(node), "keyword")

    def visit_match_case(self, node: ast.match_case) -> None:
        self.give(self.tokens.back_to(self.tokens.first(node.pattern), "case"), "keyword")

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        is_wildcard = node.name is None
        self.give(self.tokens.last(node), "keyword" if is_wildcard else "variable_written")

    visit_MatchStar = visit_MatchAs  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest is not None:
            stars = self.tokens.back_to(self.tokens.last(node), "**")
            self.give(stars + 1, "variable_written")

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for pattern in node.kwd_patterns:
            equals = self.tokens.back_to(self.tokens.first(pattern), "=")
            self.give(equals - 1, "keyword_argument")

    def visit_TypeAlias(self, node: Any) -> None:  # this and the next: from Python 3.12 on
        self.give(self.tokens.first(node), "keyword")
        self._give_annotation(node.value)

    def visit_TypeVar(self, node: Any) -> None:
        self.give(self.tokens.first(node), "annotation")
        self._give_annotation(node.bound)

    def visit_TypeVarTuple(self, node: Any) -> None:
        self.give(self.tokens.first(node) + 1, "annotation")  # after the stars

    visit_ParamSpec = visit_TypeVarTuple  # noqa: N815

    def _give_path(self, node: ast.AST | None, role: str) -> None:
        """Give the role to the last name of a dotted path, called, subscripted or neither."""
        if isinstance(node, ast.Call):
            node = node.func
        if isinstance(node, ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name | ast.Attribute):
            self.give(self.tokens.last(node), role)

    def _give_annotation(self, annotation: ast.AST | None) -> None:
        for node in _walk(annotation) if annotation is not None else ():
            if isinstance(node, ast.Name | ast.Attribute):
                self.give(self.tokens.last(node), "annotation")
