from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn import Example
from tasks.python_roles import CONTEXT_ROLES, ROLES, PythonRoles, cut_at_statements, label_tokens
from tasks.standard_library import read_sources

LINE = st.tuples(st.integers(0, 3), st.integers(1, 12))


def layout(lines: list[tuple[int, int]]) -> list[str]:
    """Return roles of lines, each given by its depth and its number of operators."""
    roles: list[str] = []
    depth = 0
    for wanted, length in lines:
        step = "indent" if roles and wanted > depth else "dedent"
        moves = min(1, wanted - depth) if roles and wanted > depth else max(0, depth - wanted)
        roles += [step] * moves
        depth += moves if step == "indent" else -moves
        roles += ["operator"] * length + ["newline"]
    return roles + ["dedent"] * depth


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Example]]:
    splits = ("train", "val", "test")
    return {split: list(PythonRoles(split).read()) for split in splits}  # type: ignore[arg-type]


def test_every_name_has_a_role_when_all_modules_are_read(
    corpus: dict[str, list[Example]],
) -> None:
    counts = Counter(
        role for part in corpus.values() for example in part for role in example.target
    )

    assert counts["other"] == 0
    assert set(counts) == set(ROLES) - {"other"}
    assert 500_000 < sum(counts.values()) < 2_000_000


def test_train_has_every_context_role(corpus: dict[str, list[Example]]) -> None:
    seen = {role for example in corpus["train"] for role in example.target}

    assert seen >= set(CONTEXT_ROLES)


def test_examples_are_sound_when_all_modules_are_read(corpus: dict[str, list[Example]]) -> None:
    examples = [example for part in corpus.values() for example in part]

    assert all(0 < len(example.source) <= 256 for example in examples)
    assert all(len(example.source) == len(example.target) for example in examples)
    assert all(text for example in examples for text in example.source)
    assert len({example.key for example in examples}) == len(examples)


@pytest.mark.parametrize("max_length", [1, 40, 256, 10**6])
def test_no_token_is_lost_when_modules_are_cut(max_length: int) -> None:
    reader = PythonRoles("val", fraction=0.1, max_length=max_length)
    examples = list(reader.read())

    for module, source in read_sources(reader.modules).items():
        own = [e for e in examples if e.key.rpartition(":")[0] == module]
        whole = label_tokens(source)
        assert [text for e in own for text in e.source] == whole.texts
        assert [role for e in own for role in e.target] == whole.roles
    assert max(len(example.source) for example in examples) <= max_length


def test_keys_name_the_line_of_the_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "# comment\na = 1\n\nb = 2\n"
    monkeypatch.setattr("tasks.python_roles.read_sources", lambda modules: {"json": source})

    examples = list(PythonRoles("train", max_length=4).read())

    assert [example.key for example in examples] == ["json:2", "json:4"]
    assert examples[1].source == ["b", "=", "2", "<newline>"]
    assert examples[1].target == ["variable_written", "operator", "number", "newline"]


def test_modules_are_listed_when_missing_or_broken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = PythonRoles("val", fraction=0.1)
    lost, broken, good = reader.modules
    texts = {broken: "def (", good: "a = 1\n"}
    monkeypatch.setattr("tasks.python_roles.read_sources", lambda modules: texts)

    with caplog.at_level(logging.INFO, logger="tasks.python_roles"):
        examples = list(reader.read())

    assert [example.key for example in examples] == [f"{good}:1"]
    assert reader.skipped == [lost, broken]
    assert f"val: of 3 modules skipped: {lost} {broken}" in caplog.text


def test_nothing_is_opened_when_a_reader_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.python_roles.read_sources", lambda modules: pytest.fail("opened"))

    assert PythonRoles("test", seed=7).spec == {
        "class_path": "tasks.python_roles.PythonRoles",
        "init_args": {"split": "test", "fraction": 1.0, "seed": 7, "max_length": 256},
    }


def test_an_error_is_raised_when_max_length_is_below_one() -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        PythonRoles("train", max_length=0)


def test_a_piece_ends_where_the_next_line_is_least_indented() -> None:
    roles = layout([(0, 2), (1, 2), (0, 2), (1, 2), (1, 2)])
    # Lines with their layout: 0-3, 3-7, 7-11, 11-15, 15-18, and a last dedent.

    assert list(cut_at_statements(roles, 16)) == [(0, 15), (15, 19)]
    assert list(cut_at_statements(roles, 12)) == [(0, 7), (7, 19)]


def test_a_piece_ends_at_the_last_statement_when_a_long_one_follows() -> None:
    roles = layout([(0, 1), (0, 9)])

    assert list(cut_at_statements(roles, 10)) == [(0, 2), (2, 12)]
    assert list(cut_at_statements(roles, 6)) == [(0, 2), (2, 8), (8, 12)]


def test_no_piece_is_given_when_there_is_no_token() -> None:
    assert list(cut_at_statements([], 5)) == []


@given(lines=st.lists(LINE, max_size=12), max_length=st.integers(1, 30))
def test_pieces_cover_all_tokens_in_order(lines: list[tuple[int, int]], max_length: int) -> None:
    roles = layout(lines)
    pieces = list(cut_at_statements(roles, max_length))

    assert [i for start, end in pieces for i in range(start, end)] == list(range(len(roles)))
    assert all(0 < end - start <= max_length for start, end in pieces)


@given(lines=st.lists(LINE, min_size=1, max_size=12))
def test_no_statement_is_cut_when_there_is_room_for_each(lines: list[tuple[int, int]]) -> None:
    roles = layout(lines)  # a line has 12 operators, 1 newline and 3 + 3 tokens of layout at most
    ends = [end for _, end in cut_at_statements(roles, 19)]

    assert all(roles[end - 1] == "newline" for end in ends[:-1])
