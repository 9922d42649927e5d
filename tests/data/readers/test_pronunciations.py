from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from seqattn import DataError, Example
from seqattn.data import Pronunciations

TEXT = """;;; CMUdict -- 0.7
a AH0
a(2) EY1

aalto AA1 L T OW2 # name, finnish
#hash-mark HH AE1 SH
d'or  D AO1 R
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "small.dict"
    file.write_text(TEXT, encoding="utf-8")
    return str(file)


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "own.dict"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_words_and_phonemes_are_read_without_comments(path: str) -> None:
    assert list(Pronunciations(path).read()) == [
        Example("a", ["AH0"], "small.dict:a"),
        Example("a", ["EY1"], "small.dict:a(2)"),
        Example("aalto", ["AA1", "L", "T", "OW2"], "small.dict:aalto"),
        Example("d'or", ["D", "AO1", "R"], "small.dict:d'or"),
    ]


def test_file_is_unpacked_when_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.dict.gz").write_bytes(gzip.compress(b"ox AA1 K S\n"))
    (example,) = Pronunciations(str(tmp_path / "a.dict.gz")).read()
    assert (example.source, example.target) == ("ox", ["AA1", "K", "S"])


def test_stress_is_removed_from_vowels_alone(tmp_path: Path) -> None:
    reader = Pronunciations(write(tmp_path, "x EH1 K s2 T\n"), stress=False)
    assert next(reader.read()).target == ["EH", "K", "s2", "T"]


def test_variants_that_differ_in_stress_alone_are_one_without_it(tmp_path: Path) -> None:
    path = write(tmp_path, "so S OW0\nso(2) S OW1\nso(3) Z OW1\n")
    found = [(example.target, example.key) for example in Pronunciations(path, stress=False).read()]
    assert found == [(["S", "OW"], "own.dict:so"), (["Z", "OW"], "own.dict:so(2)")]


def test_a_word_that_is_written_again_is_a_variant(tmp_path: Path) -> None:
    path = write(tmp_path, "the DH AH0\nthe DH IY0\n")
    assert [e.key for e in Pronunciations(path).read()] == ["own.dict:the", "own.dict:the(2)"]


def test_first_variant_alone_is_read_when_asked(path: str) -> None:
    assert [e.target[0] for e in Pronunciations(path, variants="first").read()] == [
        "AH0",
        "AA1",
        "D",
    ]


@pytest.mark.parametrize("line", ["word", "word # no phonemes"])
def test_line_is_refused_when_it_has_no_phonemes(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"a AH0\n{line}\n")
    with pytest.raises(DataError, match=r"own\.dict:2: a line must be a word and its phonemes, g"):
        list(Pronunciations(path).read())


def test_file_is_refused_when_it_has_no_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own\.dict: .*at least one example"):
        list(Pronunciations(write(tmp_path, ";;; nothing\n")).read())


def test_unknown_choice_of_variants_is_refused(path: str) -> None:
    unknown: Any = "best"
    with pytest.raises(ValueError, match="variants must be all or first, got 'best'"):
        Pronunciations(path, variants=unknown)
