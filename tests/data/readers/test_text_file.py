import gzip

import pytest

from seqattn import DataError, Example
from seqattn.data.readers.text_file import (
    read_blocks,
    read_lines,
    require_examples,
    split_blanks,
)


def test_lines_are_numbered_and_lose_their_ends_when_unix_or_windows(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\r\n\r\nfour")
    assert list(read_lines(str(path))) == [(1, "one"), (2, "two"), (3, ""), (4, "four")]


def test_lines_stay_whole_when_they_hold_other_separators(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("a\rb\x0bc\u2028d\x85e\n".encode())
    assert list(read_lines(str(path))) == [(1, "a\rb\x0bc\u2028d\x85e")]


def test_byte_order_mark_is_dropped_when_there_is_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\n")
    assert list(read_lines(str(path))) == [(1, "one")]


def test_gzip_is_unpacked_when_the_name_ends_in_gz(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("één\n".encode()))
    assert list(read_lines(str(path))) == [(1, "één")]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_lines_are_decoded_when_the_encoding_is_given(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("ça\nété\n".encode(encoding))
    assert list(read_lines(str(path), encoding)) == [(1, "ça"), (2, "été")]


def test_bad_bytes_name_file_line_and_option_when_not_in_the_encoding(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n" * 5000 + b"\xf0 no\n")
    with pytest.raises(DataError, match=r"a\.txt:5001: .*'utf-8'.*0xf0.*encoding=") as caught:
        list(read_lines(str(path)))
    assert caught.value.line == 5001


def test_bad_bytes_name_the_line_when_the_file_ends_within_a_character(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nbad \xc3")
    with pytest.raises(DataError, match=r"a\.txt:2: "):
        list(read_lines(str(path)))


def test_unknown_encoding_is_refused_when_reading(tmp_path):
    with pytest.raises(ValueError, match="encoding must be one that Python knows, got 'utf-9'"):
        list(read_lines(str(tmp_path / "a.txt"), "utf-9"))


def test_missing_file_is_named_when_absolute(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: the file must exist, got no such file$"):
        list(read_lines(str(tmp_path / "none.txt")))


def test_missing_file_names_the_working_directory_when_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"^none\.txt: .*working directory {tmp_path}"):
        list(read_lines("none.txt"))


def test_folder_is_refused_when_given_as_file(tmp_path):
    with pytest.raises(DataError, match="the file must be readable: Is a directory"):
        list(read_lines(str(tmp_path)))


@pytest.mark.parametrize("data", [b"not gzip\n", gzip.compress(b"cut short\n" * 50)[:-12]])
def test_gzip_is_refused_when_it_does_not_unpack(tmp_path, data):
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.gz: the file must be gzip data as its name says"):
        list(read_lines(str(path)))


def test_blocks_are_the_lines_between_blank_ones_when_those_repeat(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\na\nb\n \t\n\n\nc")
    assert list(read_blocks(str(path))) == [[(2, "a"), (3, "b")], [(7, "c")]]


@pytest.mark.parametrize(
    ("line", "parts"),
    [(" a \t b ", ["a", "b"]), ("10\u00a0000 km", ["10\u00a0000", "km"]), (" ", []), ("", [])],
)
def test_blanks_split_only_at_spaces_and_tabs_when_others_are_there(line, parts):
    assert split_blanks(line) == parts


def test_examples_are_required_when_there_is_none():
    with pytest.raises(DataError, match=r"^a\.txt: the file must hold at least one example"):
        list(require_examples(iter([]), "a.txt"))


def test_examples_pass_in_order_when_there_are_some():
    examples = [Example("a"), Example("b")]
    assert list(require_examples(iter(examples), "a.txt")) == examples
