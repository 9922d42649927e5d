from __future__ import annotations

from pathlib import Path

import pytest

from seqattn import DataError, Example
from seqattn.data import Inflections


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "german-dev"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_source_is_the_tags_and_the_lemma_by_character(tmp_path: Path) -> None:
    path = write(tmp_path, "über\tüb ich\tV;1;SG\n\nV\tVs\tN;PL\n")
    assert list(Inflections(path).read()) == [
        Example(["<V>", "<1>", "<SG>", "ü", "b", "e", "r"], "üb ich", "german-dev:1"),
        Example(["<N>", "<PL>", "V"], "Vs", "german-dev:3"),
    ]


def test_spaces_of_a_lemma_are_characters() -> None:
    assert Inflections.source_of("a b", "V") == ["<V>", "a", " ", "b"]


@pytest.mark.parametrize("line", ["gehen\tging", "gehen\t\tV", "gehen ging V;PST", "a\tb\tV\tx"])
def test_line_is_refused_when_it_is_no_triple(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"a\tb\tV\n{line}\n")
    with pytest.raises(DataError, match=r"german-dev:2: a line must be a lemma, a form and tags"):
        list(Inflections(path).read())


def test_file_is_refused_when_it_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="german-dev: .*at least one example"):
        list(Inflections(write(tmp_path, "\n")).read())
