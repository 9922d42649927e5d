"""Functions of Python source as tokens and as syntax trees, their own names masked.

This is no task: it is what tasks on Python functions rest on. Token list and graph come from one
and the same syntax tree, so that they hold the same things: no comments, no docstring, no
decorators, literals of text by kind alone, and ``<name>`` wherever the function's name occurs.

Identifiers are split into sub-words: ``readHTTPLine_2`` is read, http, line, 2.
"""

from __future__ import annotations

import ast
import copy
import io
import keyword
import re
import token
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqattn import DataError, Graph

NAME, TEXT = "<name>", "<text>"
"""What stands for the function's own name, and for any literal of text or bytes."""

EDGE_KINDS: tuple[str, ...] = (
    *("child", "parent"),  # child: from a node to its child
    *("next_sibling", "previous_sibling"),
    *("next_token", "previous_token"),  # between the leaves, in the order of the tree
    *("next_use", "previous_use"),  # between occurrences of one identifier
)

_SUBWORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_PLACEHOLDER = "__text__"  # an identifier for literals, since only those survive `ast.unparse`
_LAYOUT = {token.NEWLINE: "<newline>", token.INDENT: "<indent>", token.DEDENT: "<dedent>"}
_UNSEEN = {token.NL, token.ENDMARKER, token.ENCODING, token.COMMENT}
_OPAQUE = {"JoinedStr", "TemplateStr"}  # strings with expressions inside, which are not seen
_IDENTIFIERS = ("name", "id", "attr", "arg", "names", "module", "asname", "rest", "kwd_attrs")

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function of a source.

    Args:
        name: its name.
        line: where it is defined, from 1.
        tree: its definition, masked.
    """

    name: str
    line: int
    tree: Definition


def split_identifier(identifier: str) -> list[str]:
    """Return the sub-words of an identifier in lower case; none for underscores alone."""
    return [part.lower() for part in _SUBWORD.findall(identifier)]


def find_functions(source: str) -> Iterator[Function]:
    """Yield the functions and methods of a source, nested ones too, in the order of their lines.

    Left out are those whose name Python prescribes (``__init__``) or has no sub-word, and those
    without anything but ``pass``, ``...`` and ``raise`` in their body.

    Raises:
        DataError: if the running Python cannot parse the source.
    """
    tree = _Masker().visit(_parse(source))
    found = [node for node in ast.walk(tree) if isinstance(node, Definition)]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
        is_special = node.name.startswith("__") and node.name.endswith("__")
        if split_identifier(node.name) and not is_special and not _is_empty(node):
            bare = copy.copy(node)
            bare.decorator_list = []
            yield Function(node.name, node.lineno, bare)


def to_tokens(function: Function) -> list[str]:
    """Return the tokens of a function, identifiers split, layout as ``<newline>`` and so on."""
    lines = io.StringIO(f"{ast.unparse(function.tree)}\n")
    found: list[str] = []
    for one in tokenize.generate_tokens(lines.readline):
        if one.type in _LAYOUT:
            found.append(_LAYOUT[one.type])
        elif one.type == token.NAME and not keyword.iskeyword(one.string):
            found += _read_identifier(one.string, function.name)
        elif one.type not in _UNSEEN:
            found.append(one.string)
    return found


def to_graph(function: Function, max_nodes: int, *, edges: bool = True) -> Graph:
    """Return the syntax tree of a function as a graph, parents before their children.

    A node has two categories: the kind of syntax, and a sub-word or value (empty for others).
    Every identifier and literal is a leaf for each of its sub-words. An edge has one of
    :data:`EDGE_KINDS`.

    Args:
        function: the function.
        max_nodes: nodes that are kept, the first ones.
        edges: whether the graph has edges; without, it is a bag of nodes.
    """
    builder = _GraphBuilder(function.name)
    builder.add(function.tree, None)
    kept = builder.kinds[:max_nodes]
    found = [edge for edge in builder.edges() if max(edge[:2]) < max_nodes] if edges else []
    index = np.array([edge[:2] for edge in found], dtype=np.int64).reshape(-1, 2).T
    kinds = np.array([edge[2] for edge in found], dtype=object).reshape(-1, 1)
    return Graph(
        len(kept),
        index,
        categories=np.array(kept, dtype=object),
        edge_categories=kinds if edges else None,
        names=tuple(value or kind for kind, value in kept),
    )


class _Masker(ast.NodeTransformer):
    """Takes docstrings out of a tree, and the text out of its literals."""

    def visit(self, node: ast.AST) -> ast.AST:
        """Return what a node becomes."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and _is_text(first.value):
                node.body = node.body[1:] or [ast.Pass()]
        if type(node).__name__ in _OPAQUE or _is_text(node):
            return ast.copy_location(ast.Name(_PLACEHOLDER, ast.Load()), node)
        return self.generic_visit(node)


class _GraphBuilder:
    """Collects the nodes of one tree.

    Args:
        name: the function's own name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds: list[tuple[str, str]] = []  # of each node
        self.children: list[list[int]] = []
        self.leaves: list[int] = []
        self.uses: dict[str, list[int]] = {}

    def add(self, node: ast.AST, parent: int | None) -> None:
        """Add a node and all below it."""
        number = self._append(type(node).__name__, "", parent)
        for field, value in ast.iter_fields(node):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    if not isinstance(item, ast.expr_context):
                        self.add(item, number)
                elif isinstance(item, str) and field in _IDENTIFIERS:
                    self._add_identifier(item, number)
                elif field == "value" and isinstance(node, ast.Constant):
                    self._add_leaf("literal", repr(item), number)

    def edges(self) -> Iterator[tuple[int, int, str]]:
        """Yield source, target and kind of every edge."""
        for parent, children in enumerate(self.children):
            for child in children:
                yield parent, child, "child"
                yield child, parent, "parent"
            yield from _chain(children, "sibling")
        yield from _chain(self.leaves, "token")
        for places in self.uses.values():
            yield from _chain(places, "use")

    def _append(self, kind: str, value: str, parent: int | None) -> int:
        number = len(self.kinds)
        self.kinds.append((kind, value))
        self.children.append([])
        if parent is not None:
            self.children[parent].append(number)
        return number

    def _add_leaf(self, kind: str, value: str, parent: int) -> int:
        number = self._append(kind, value, parent)
        self.leaves.append(number)
        return number

    def _add_identifier(self, identifier: str, parent: int) -> None:
        """Add a leaf for each sub-word; the first one stands for the identifier's use."""
        subwords = _read_identifier(identifier, self.name)
        places = [self._add_leaf("identifier", subword, parent) for subword in subwords]
        self.uses.setdefault(identifier, []).extend(places[:1])


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes and the like are the author's business
            return ast.parse(source)
    except (SyntaxError, ValueError) as error:  # ValueError: null characters, lone surrogates
        raise DataError(f"source must be valid Python, got {error}") from error


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_empty(node: Definition) -> bool:
    """Return whether nothing happens in a body."""
    return all(
        isinstance(item, ast.Pass | ast.Raise)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        for item in node.body
    )


def _read_identifier(identifier: str, own: str) -> list[str]:
    """Return what an identifier is shown as; underscores alone as they are."""
    if identifier in (own, _PLACEHOLDER):
        return [NAME if identifier == own else TEXT]
    return split_identifier(identifier) or [identifier]


def _chain(places: list[int], what: str) -> Iterator[tuple[int, int, str]]:
    """Yield the edges between neighbours of a list, both ways."""
    for one, other in zip(places, places[1:], strict=False):
        yield one, other, f"next_{what}"
        yield other, one, f"previous_{what}"
