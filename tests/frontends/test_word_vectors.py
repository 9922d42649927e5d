import gzip
from pathlib import Path

import numpy as np
import pytest

from seqattn.errors import DataError
from seqattn.frontends.word_vectors import read_word_vectors

LINES = "cat 1 2\nparis 3 4\n. . 5 6\nCat 7 8\n"


def write(folder: Path, text: str, name: str = "vectors.txt") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def as_lists(vectors: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {word: vector.tolist() for word, vector in vectors.items()}


@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_vectors_are_read_with_and_without_header(tmp_path: Path, header: str):
    path = write(tmp_path, header + LINES)

    found = as_lists(read_word_vectors(path, ["cat", "Cat", ". .", "dog"]))

    assert found == {"cat": [1, 2], "Cat": [7, 8], ". .": [5, 6]}


def test_vectors_are_read_when_packed_and_ended_as_on_windows(tmp_path: Path):
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(LINES.replace("\n", " \r\n").encode()))

    assert as_lists(read_word_vectors(str(path), ["cat"])) == {"cat": [1, 2]}


def test_word_takes_its_lower_case_vector_when_its_own_is_missing(tmp_path: Path):
    path = write(tmp_path, LINES)

    assert as_lists(read_word_vectors(path, ["Paris"])) == {"Paris": [3, 4]}


def test_first_line_counts_when_a_word_comes_twice(tmp_path: Path):
    path = write(tmp_path, "cat 1 2\ncat 3 4\n")

    assert as_lists(read_word_vectors(path, ["cat"])) == {"cat": [1, 2]}


def test_extra_words_come_in_the_order_of_the_file(tmp_path: Path):
    path = write(tmp_path, LINES)

    assert list(read_word_vectors(path, ["Cat"], extra=1)) == ["Cat", "paris"]


def test_line_separators_inside_a_word_do_not_end_the_line(tmp_path: Path):
    path = write(tmp_path, "a\u2028b\x85c 1 2\n")

    assert list(read_word_vectors(path, ["a\u2028b\x85c"])) == ["a\u2028b\x85c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat 1 2\ndog 3\n", r"txt:2: a line must be a word and 2 values, got 'dog 3'"),
        ("cat 1 2\ndog 3 4 5\n", r"txt:2: a line must be a word and 2 values"),
        ("cat 1 2\n\n", r"txt:2: a line must be a word and 2 values, got ''"),
        ("cat\n", r"txt:1: a line must be a word and some values, got 'cat'"),
        ("3 2\ncat 1 x\n", r"txt:2: values must be numbers, got: .*'x'"),
        ("cat 1 nan\n", r"txt:1: values must be finite, got nan"),
        ("3 2\ncat 1 2\n", r"txt: the file must hold 3 words, got 1"),
        ("", r"txt: the file must hold 1 words, got 0"),
        ("dog 1 2\n", r"txt: the file must hold one of the 1 words wanted, got none"),
    ],
)
def test_file_is_refused_when_broken(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_word_vectors(write(tmp_path, text), ["cat"])


def test_file_is_refused_when_not_utf8_or_cut(tmp_path: Path):
    latin, cut = tmp_path / "latin.txt", tmp_path / "cut.gz"
    latin.write_bytes("caf\xe9 1 2\n".encode("latin-1"))
    cut.write_bytes(gzip.compress(LINES.encode())[:-9])

    for path in (latin, cut):
        with pytest.raises(DataError, match=r"the file must be whole and in UTF-8, got"):
            read_word_vectors(str(path), ["cat"])


def test_path_is_refused_when_there_is_no_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.txt: vectors_path must name a file"):
        read_word_vectors(str(tmp_path / "none.txt"), ["cat"])
