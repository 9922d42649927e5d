from __future__ import annotations

import sys
import textwrap

import pytest

from seqattn import DataError
from tasks.python_syntax import CONTEXT_ROLES, LEXICAL_ROLES, ROLES, is_context, label_tokens

DEFINITIONS = [
    (
        "def area(width, *rest, height=unit, **options): return lambda z: z",
        "area:defined_function width:parameter rest:parameter height:parameter "
        "unit:variable_read options:parameter z:parameter z:variable_read",
    ),
    (
        "async def fetch(url): await get(url)",
        "fetch:defined_function url:parameter get:called_function url:variable_read",
    ),
    (
        "class Cat(animals.Pet, Generic[T], mix(Base), metaclass=Meta): pass",
        "Cat:defined_class animals:variable_read Pet:base_class Generic:base_class "
        "T:variable_read mix:base_class Base:variable_read metaclass:keyword_argument "
        "Meta:variable_read",
    ),
    (
        "@cache\n@app.route(path)\n@(size).setter\ndef f(): pass",
        "cache:decorator app:variable_read route:decorator path:variable_read "
        "size:variable_read setter:decorator f:defined_function",
    ),
    ("@sealed\nclass Cat: pass", "sealed:decorator Cat:defined_class"),
    (
        "def f(a: int, *b: typing.Any) -> list[Row]: pass",
        "f:defined_function a:parameter int:annotation b:parameter typing:annotation "
        "Any:annotation list:annotation Row:annotation",
    ),
    (
        "x: Final[int] = y\nself.z: Note(width=3)",
        "x:variable_written Final:annotation int:annotation y:variable_read "
        "self:variable_read z:attribute Note:annotation width:keyword_argument",
    ),
]

EXPRESSIONS = [
    ("f(x)", "f:called_function x:variable_read"),
    (
        "(a.b).c.d(e.f, key=g, **h)",
        "a:variable_read b:attribute c:attribute d:called_method e:variable_read f:attribute "
        "key:keyword_argument g:variable_read h:variable_read",
    ),
    (
        "table[key](x)(y)",
        "table:variable_read key:variable_read x:variable_read y:variable_read",
    ),
    (
        "a = b.c = d\ndel e, f.g\nh += i",
        "a:variable_written b:variable_read c:attribute d:variable_read e:variable_written "
        "f:variable_read g:attribute h:variable_written i:variable_read",
    ),
    (
        "[x for x, *y in z if (w := x)]",
        "x:variable_read x:variable_written y:variable_written z:variable_read "
        "w:variable_written x:variable_read",
    ),
]

STATEMENTS = [
    (
        "import os.path, numpy as np",
        "os:module path:module numpy:module np:import_alias",
    ),
    (
        "from ..a.b import (c as d, e,)\nfrom . import f\nfrom g import *",
        "a:module b:module c:imported_name d:import_alias e:imported_name f:imported_name g:module",
    ),
    (
        "raise ValueError(text) from cause\nraise errors.Lost\nraise",
        "ValueError:raised_exception text:variable_read cause:variable_read "
        "errors:variable_read Lost:raised_exception",
    ),
    (
        "try: pass\nexcept (KeyError, os.error) as e: pass",
        "KeyError:caught_exception os:variable_read error:caught_exception e:variable_written",
    ),
    (
        "try: pass\nexcept (OSError) as e: pass\nexcept Other: pass\nfinally: pass",
        "OSError:caught_exception e:variable_written Other:caught_exception",
    ),
    ("try: pass\nexcept* OSError: pass", "OSError:caught_exception"),
    (
        "def f():\n global a, b\n def g():\n  nonlocal c",
        "f:defined_function a:scope_name b:scope_name g:defined_function c:scope_name",
    ),
    (
        "with open(a) as b, c as (d, e.f): pass",
        "open:called_function a:variable_read b:variable_written c:variable_read "
        "d:variable_written e:variable_read f:attribute",
    ),
    ("for i in items: pass", "i:variable_written items:variable_read"),
]

PATTERNS = [
    (
        "match case:\n case _: pass",
        "case:variable_read",
    ),
    (
        "match x:\n case case: pass",
        "x:variable_read case:variable_written",
    ),
    (
        "match x:\n case ((a.B | 1) as y): pass",
        "x:variable_read a:variable_read B:attribute y:variable_written",
    ),
    (
        "match x:\n case [1, *_] | {'k': v, **rest,}: pass",
        "x:variable_read v:variable_written rest:variable_written",
    ),
    (
        "match x:\n case Point(a, x=(1 | 2), y=(b, *c)) if a: pass",
        "x:variable_read Point:variable_read "
        "a:variable_written x:keyword_argument y:keyword_argument b:variable_written "
        "c:variable_written a:variable_read",
    ),
    (
        "match = re.match(case, _)",
        "match:variable_written re:variable_read match:called_method case:variable_read "
        "_:variable_read",
    ),
]


def names_of(source: str) -> str:
    tokens = label_tokens(source)
    pairs = zip(tokens.texts, tokens.roles, strict=True)
    return " ".join(f"{text}:{role}" for text, role in pairs if role not in LEXICAL_ROLES)


@pytest.mark.parametrize(("source", "expected"), DEFINITIONS)
def test_roles_are_those_of_the_grammar_when_names_are_defined(source: str, expected: str) -> None:
    assert names_of(source) == expected


@pytest.mark.parametrize(("source", "expected"), EXPRESSIONS)
def test_roles_are_those_of_the_grammar_when_names_are_used(source: str, expected: str) -> None:
    assert names_of(source) == expected


@pytest.mark.parametrize(("source", "expected"), STATEMENTS)
def test_roles_are_those_of_the_grammar_when_in_statements(source: str, expected: str) -> None:
    assert names_of(source) == expected


@pytest.mark.parametrize(("source", "expected"), PATTERNS)
def test_roles_are_those_of_the_grammar_when_in_patterns(source: str, expected: str) -> None:
    assert names_of(source) == expected


if sys.version_info >= (3, 12):  # type parameters came with it

    def test_type_parameters_are_annotations_when_python_has_them() -> None:
        expected = (
            "Pair:variable_written T:annotation Ts:annotation P:annotation "
            "tuple:annotation T:annotation"
        )
        assert names_of("type Pair[T, *Ts, **P] = tuple[T]") == expected
        assert names_of("def f[T: int](): pass") == "f:defined_function T:annotation int:annotation"


def test_the_snippets_have_every_context_role() -> None:
    snippets = [*DEFINITIONS, *EXPRESSIONS, *STATEMENTS, *PATTERNS]
    seen = {pair.split(":")[1] for _, expected in snippets for pair in expected.split()}

    assert seen == set(CONTEXT_ROLES)


def test_every_token_is_given_when_lines_are_nested() -> None:
    source = textwrap.dedent("""\
        # a comment is left out
        if True:

            x = -1.5  # here too
        """)

    tokens = label_tokens(source)

    assert tokens.texts == [
        *("if", "True", ":", "<newline>"),
        *("<indent>", "x", "=", "-", "1.5", "<newline>", "<dedent>"),
    ]
    assert tokens.roles == [
        *("keyword", "constant", "operator", "newline"),
        *("indent", "variable_written", "operator", "operator", "number", "newline", "dedent"),
    ]
    assert tokens.lines == [2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 5]


def test_a_string_shows_its_first_characters_when_it_is_long() -> None:
    tokens = label_tokens('"""Sum  of\n    two numbers, or more."""\nr"short"')

    assert tokens.texts[0] == '"""Sum of two number'
    assert tokens.texts[2] == 'r"short"'
    assert tokens.roles[0] == tokens.roles[2] == "string"


@pytest.mark.parametrize(
    ("literal", "shown"),
    [
        ("f'{a}'", "f'{a}'"),
        ("f'{{{a!r:>{width}}}}'", "f'{{{a!r:>{width}}}}"),
        ("rf'''{a}\n  {b}'''", "rf'''{a} {b}'''"),
        ("f'äöü{a}'", "f'äöü{a}'"),
    ],
)
def test_an_f_string_is_one_string_on_every_python(literal: str, shown: str) -> None:
    tokens = label_tokens(f"g({literal}, b)")

    assert tokens.texts == ["g", "(", shown, ",", "b", ")", "<newline>"]
    assert tokens.roles[2] == "string"
    assert tokens.roles[4] == "variable_read"


def test_roles_hold_when_characters_are_wider_than_a_byte() -> None:
    expected = "größe:variable_written f:called_function straße:variable_read x:attribute"
    assert names_of('größe = "€", f("𝄞", straße.x)') == expected


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_roles_hold_when_lines_end_otherwise(end: str) -> None:
    source = "if a:\n  b = '''\n'''; c()\n"

    assert label_tokens(source.replace("\n", end)) == label_tokens(source)


def test_no_token_is_given_when_there_is_no_source() -> None:
    assert label_tokens("# nothing\n\n").texts == []
    assert label_tokens("").texts == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ndef f(:", r"source must be valid Python, got .*line 2"),
        ("a\0b", "source must be valid Python, got .*null"),
        ("x = '\ud800'", "source must be valid Python, got .*surrogates"),
    ],
)
def test_an_error_is_raised_when_the_source_is_not_python(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_tokens(source)


def test_is_context_parts_the_roles_in_two() -> None:
    assert is_context("called_function")
    assert not is_context("operator")
    assert not is_context("other")
    assert len(set(ROLES)) == len(LEXICAL_ROLES) + len(CONTEXT_ROLES) + 1


def test_soft_keywords_are_keywords_when_they_act_as_such() -> None:
    tokens = label_tokens("match x:\n case _: match = case")
    found = [role for text, role in zip(tokens.texts, tokens.roles, strict=True) if text != "x"]
    assert [role for role in found if role == "keyword"] == ["keyword"] * 3
    assert found.count("variable_written") == 1
