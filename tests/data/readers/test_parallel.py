import gzip

import pytest

from seqattn import DataError, Example
from seqattn.data import ParallelFiles


@pytest.fixture
def write(tmp_path):
    def write_files(sources, targets):
        (tmp_path / "seq.in").write_text(sources, encoding="utf-8")
        (tmp_path / "seq.out").write_text(targets, encoding="utf-8")
        return str(tmp_path / "seq.in"), str(tmp_path / "seq.out")

    return write_files


def test_tokens_and_tags_are_lists_when_the_level_is_token(write):
    reader = ParallelFiles(*write("play  x \nrain ?\n", "O B-song\nO O\n"))
    assert list(reader.read()) == [
        Example(["play", "x"], ["O", "B-song"], "seq.in:1"),
        Example(["rain", "?"], ["O", "O"], "seq.in:2"),
    ]


def test_lines_are_kept_whole_when_the_level_is_sequence(write):
    reader = ParallelFiles(*write("a  dog \nhello\n", "ein Hund\nhallo"), level="sequence")
    assert list(reader.read()) == [
        Example("a  dog", "ein Hund", "seq.in:1"),
        Example("hello", "hallo", "seq.in:2"),
    ]


def test_files_are_unpacked_when_gzip(tmp_path):
    for name, text in (("a.en.gz", b"dog\n"), ("a.de.gz", b"Hund\n")):
        (tmp_path / name).write_bytes(gzip.compress(text))
    reader = ParallelFiles(str(tmp_path / "a.en.gz"), str(tmp_path / "a.de.gz"), "sequence")
    assert list(reader.read()) == [Example("dog", "Hund", "a.en.gz:1")]


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_lines_are_skipped_when_blank_in_both_files(write, level):
    reader = ParallelFiles(*write("a\n\nb\n", "x\n \ny\n"), level)
    assert [example.key for example in reader.read()] == ["seq.in:1", "seq.in:3"]


def test_line_is_refused_when_tokens_and_tags_differ_in_number(write):
    reader = ParallelFiles(*write("a\nb c\n", "O\nO O O\n"))
    with pytest.raises(DataError, match=r"seq\.out:2: .*seq\.in .*got 2 tokens and 3 tags"):
        list(reader.read())


@pytest.mark.parametrize(
    ("sources", "targets", "blank"), [("a\n\n", "x\ny\n", "in"), ("a\nb\n", "x\n\n", "out")]
)
def test_line_is_refused_when_blank_in_one_file(write, sources, targets, blank):
    reader = ParallelFiles(*write(sources, targets), level="sequence")
    with pytest.raises(DataError, match=rf"seq\.{blank}:2: a line must be blank in both files"):
        list(reader.read())


@pytest.mark.parametrize(("sources", "targets"), [("a\nb\nc\n", "O\n"), ("a\n", "O\nO\nO\n")])
def test_files_are_refused_when_they_differ_in_lines(write, sources, targets):
    counts = rf"which has {sources.count(chr(10))}, got {targets.count(chr(10))}"
    with pytest.raises(DataError, match=rf"seq\.out: .*as many lines as .*seq\.in, {counts}"):
        list(ParallelFiles(*write(sources, targets)).read())


def test_files_are_refused_when_empty(write):
    with pytest.raises(DataError, match=r"seq\.in: .*at least one example"):
        list(ParallelFiles(*write("", "")).read())


def test_level_is_refused_when_unknown():
    with pytest.raises(ValueError, match="level must be token or sequence, got 'word'"):
        ParallelFiles("seq.in", "seq.out", "word")
