from __future__ import annotations

import pytest

from seqattn import DataError, Graph
from tasks.python_trees import (
    EDGE_KINDS,
    NAME,
    TEXT,
    Function,
    find_functions,
    split_identifier,
    to_graph,
    to_tokens,
)
from tasks.standard_library import choose_modules, read_sources


def only(source: str) -> Function:
    (function,) = find_functions(source)
    return function


def edges_of(graph: Graph, kind: str) -> list[tuple[str, str]]:
    """The names at both ends of the edges of one kind."""
    assert graph.names is not None
    assert graph.edge_categories is not None
    return [
        (graph.names[one], graph.names[other])
        for one, other, (found,) in zip(*graph.edge_index, graph.edge_categories, strict=True)
        if found == kind
    ]


@pytest.mark.parametrize(
    ("identifier", "subwords"),
    [
        ("read_line", ["read", "line"]),
        ("_readHTTPLine_2", ["read", "http", "line", "2"]),
        ("HTTPServer", ["http", "server"]),
        ("getaddrinfo", ["getaddrinfo"]),
        ("os.path", ["os", "path"]),
        ("naïve_Übung", ["na", "ï", "ve", "Ü".lower(), "bung"]),
        ("ABC", ["abc"]),
        ("_", []),
    ],
)
def test_identifiers_are_split_at_underscores_and_case(
    identifier: str, subwords: list[str]
) -> None:
    assert split_identifier(identifier) == subwords


def test_own_name_is_masked_wherever_it_occurs() -> None:
    function = only("def count(n):\n    return self.count(n) + count_all(count=count)\n")
    expected = f"def {NAME} ( n ) : <newline> <indent> return self . {NAME} ( n ) + count all ( "
    expected += f"{NAME} = {NAME} ) <newline> <dedent>"
    assert " ".join(to_tokens(function)) == expected
    names = to_graph(function, 100).names
    assert names is not None
    assert (names.count(NAME), names.count("count")) == (4, 1)


def test_docstring_decorators_and_comments_are_not_seen() -> None:
    source = '@name.setter\ndef name(self):\n    """Sets name."""  # name\n    pass; f()\n'
    tokens = to_tokens(only(source))
    assert tokens == to_tokens(only("def name(self):\n    pass\n    f()\n"))
    assert "setter" not in tokens


@pytest.mark.parametrize("text", ["'a name'", "b'a'", 'f"{name} {x}"', "'a' 'b'", "r'''a\nb'''"])
def test_text_is_seen_by_kind_alone(text: str) -> None:
    function = only(f"def name():\n    y = {text}\n")
    assert to_tokens(function)[7:-2] == ["y", "=", TEXT]
    names = to_graph(function, 100).names
    assert names is not None
    assert names[-2:] == ("Name", TEXT)


def test_functions_are_found_in_the_order_of_their_lines() -> None:
    source = "def a():\n    def b(): f()\n    b()\nclass C:\n    async def d(self): f()\n"
    assert [(f.name, f.line) for f in find_functions(source)] == [("a", 1), ("b", 2), ("d", 5)]


@pytest.mark.parametrize(
    "source",
    [
        "def __init__(self): self.x = 1",
        "def _(): f()",
        "def a(): pass",
        "def a(): ...",
        "def a():\n    'Docs.'",
        "def a():\n    'Docs.'\n    raise NotImplementedError",
    ],
)
def test_functions_are_left_out_when_there_is_nothing_to_tell(source: str) -> None:
    assert list(find_functions(source)) == []


def test_tree_of_a_small_function_is_as_drawn_by_hand() -> None:
    graph = to_graph(only("def f(a):\n    return a + 1\n"), 100)
    assert graph.names == (
        *("FunctionDef", NAME, "arguments", "arg", "a"),
        *("Return", "BinOp", "Name", "a", "Add", "Constant", "1"),
    )
    assert edges_of(graph, "child") == [
        ("FunctionDef", NAME),
        ("FunctionDef", "arguments"),
        ("FunctionDef", "Return"),
        ("arguments", "arg"),
        ("arg", "a"),
        ("Return", "BinOp"),
        ("BinOp", "Name"),
        ("BinOp", "Add"),
        ("BinOp", "Constant"),
        ("Name", "a"),
        ("Constant", "1"),
    ]
    assert edges_of(graph, "next_sibling") == [
        (NAME, "arguments"),
        ("arguments", "Return"),
        ("Name", "Add"),
        ("Add", "Constant"),
    ]
    assert edges_of(graph, "next_token") == [(NAME, "a"), ("a", "a"), ("a", "1")]
    assert edges_of(graph, "next_use") == [("a", "a")]
    assert graph.categories is not None
    assert graph.categories[3:5].tolist() == [["arg", ""], ["identifier", "a"]]


def test_every_edge_has_its_reverse() -> None:
    graph = to_graph(only("def f(a, b_c):\n    for b_c in a: print(b_c, a)\n"), 100)
    for one, other in zip(EDGE_KINDS[::2], EDGE_KINDS[1::2], strict=True):
        turned = [(target, source) for source, target in edges_of(graph, other)]
        assert sorted(edges_of(graph, one)) == sorted(turned)
        assert turned


def test_first_nodes_and_the_edges_among_them_are_kept_when_there_are_too_many() -> None:
    function = only("def f(a):\n    return a + 1\n")
    whole, part = to_graph(function, 100), to_graph(function, 5)
    assert part.num_nodes == 5
    assert part.names == whole.names[:5]  # type: ignore[index]
    assert part.edge_index.max() < 5
    assert edges_of(part, "child") == edges_of(whole, "child")[:2] + edges_of(whole, "child")[3:5]


def test_graph_without_edges_has_the_same_nodes() -> None:
    function = only("def f(a):\n    return a + 1\n")
    whole, bag = to_graph(function, 100), to_graph(function, 100, edges=False)
    assert bag.names == whole.names
    assert bag.edge_index.shape == (2, 0)
    assert bag.edge_categories is None


@pytest.mark.parametrize("source", ["def (", "a\0b"])
def test_source_is_refused_when_it_is_not_python(source: str) -> None:
    with pytest.raises(DataError, match="source must be valid Python, got "):
        list(find_functions(source))


def test_syntax_of_every_kind_is_shown_when_modules_are_read() -> None:
    for source in read_sources(choose_modules("val", 0.1)).values():
        for function in find_functions(source):
            tokens, graph = to_tokens(function), to_graph(function, 10**6)
            assert NAME in tokens
            assert all(tokens)
            assert graph.edge_index.max() < graph.num_nodes
