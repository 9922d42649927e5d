from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqattn import AudioClip, DataError, Example
from seqattn.data import AudioManifest

pytest.importorskip("datasets")

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest beside two empty sound files; return its path."""
    for name in ("one.wav", "sub/two.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def write_file(text: str, name: str = "all.tsv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write_file


def read(path: str, **arguments: Any) -> list[Example]:
    return list(AudioManifest(path, **arguments).read())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("all.tsv", "path\tlabel\none.wav\tyes\nsub/two.flac\tno\n"),
        ("all.csv", 'label,path\nyes,"one.wav"\nno,sub/two.flac\n'),
        ("all.jsonl", '{"path": "one.wav", "label": "yes"}\n'
                      '{"path": "sub/two.flac", "label": "no"}\n'),
    ],
)  # fmt: skip
def test_a_row_is_a_file_with_its_label(write: Write, tmp_path: Path, name: str, text: str) -> None:
    assert read(write(text, name)) == [
        Example(str(tmp_path / "one.wav"), "yes", "one.wav"),
        Example(str(tmp_path / "sub/two.flac"), "no", "sub/two.flac"),
    ]


def test_columns_have_the_names_that_are_given(write: Write) -> None:
    path = write("file\ttext\none.wav\ta b c\n")
    assert read(path, source="file", target="text")[0].target == "a b c"
    assert read(path, source="file", target=None)[0].target is None


def test_lists_of_json_stay_lists(write: Write) -> None:
    path = write('{"path": "one.wav", "label": ["a", "b"]}\n', "all.jsonl")
    assert read(path)[0].target == ["a", "b"]


def test_an_absolute_path_stays(write: Write, tmp_path: Path) -> None:
    sound = str(tmp_path / "one.wav")
    (tmp_path / "lists").mkdir()
    assert read(write(f"path\tlabel\n{sound}\tx\n", "lists/all.tsv"))[0].source == sound


def test_a_row_is_a_stretch_where_start_and_end_are_named(write: Write, tmp_path: Path) -> None:
    path = write(
        "path\tlabel\tfrom\tto\none.wav\ta\t\t\none.wav\tb\t1.5\t4\none.wav\tc\t4\t\n"
        "one.wav\td\t\t2\n"
    )
    sound = str(tmp_path / "one.wav")
    found = read(path, start="from", end="to")
    assert [(example.source, example.key) for example in found] == [
        (sound, "one.wav"),
        (AudioClip(sound, 1.5, 4.0), "one.wav:1.5-4"),
        (AudioClip(sound, 4.0, None), "one.wav:4-"),
        (AudioClip(sound, 0.0, 2.0), "one.wav:0-2"),
    ]


SEGMENTS = "0.5\t1.5\ta\n\\\t100\t900\n\n2\t3.25\tb c\n"


def test_a_target_is_the_segments_of_a_file(write: Write) -> None:
    write(SEGMENTS, "one.txt")
    path = write("path\tlabel\none.wav\tone.txt\n")
    assert read(path, segments=True)[0].target == [(0.5, 1.5, "a"), (2.0, 3.25, "b c")]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1, 3, [(0.0, 0.5, "a"), (1.0, 2.0, "b c")]),
        (1.5, 2, []),
        (0.75, 1.25, [(0.0, 0.5, "a")]),
        (2.25, "", [(0.0, 1.0, "b c")]),
    ],
)
def test_segments_of_a_stretch_count_from_its_start(
    write: Write, start: float, end: Any, expected: Any
) -> None:
    write(SEGMENTS, "one.txt")
    path = write(f"path\tlabel\tstart\tend\none.wav\tone.txt\t{start}\t{end}\n")
    assert read(path, segments=True, start="start", end="end")[0].target == expected


@pytest.mark.parametrize(
    ("rows", "arguments", "rule"),
    [
        ("one.wav\tx\ngone.wav\ty\n", {}, "all.tsv:3: the sound file must exist, got no "),
        ("\tx\n", {}, "all.tsv:2: column 'path' must have a value, got ''"),
        ("one.wav\t \n", {}, "all.tsv:2: column 'label' must have a value, got ' '"),
        ("one.wav\n", {}, "all.tsv:2: a row must have 2 cells"),
        ("one.wav\tx\n", {"target": "text"}, "must be one of 'path', 'label', got 'text'"),
        ("one.wav\tx\n", {"start": "label"}, "2: column 'label' must be a number of seconds, got"),
        ("one.wav\tnan\n", {"start": "label"}, "must be a number of seconds, got 'nan'"),
        ("one.wav\t-1\n", {"start": "label"}, "2: start must be at least 0 seconds, got -1.0"),
        ("one.wav\t0\n", {"end": "label"}, "2: end must lie after start = 0.0 seconds, got 0.0"),
        ("one.wav\tx\n", {"segments": True}, "2: the file of segments must exist, got no "),
        ("", {}, "must hold at least one example, got none"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(
    write: Write, rows: str, arguments: Any, rule: str
) -> None:
    with pytest.raises(DataError, match=re.escape(rule)):
        read(write(f"path\tlabel\n{rows}"), **arguments)


@pytest.mark.parametrize("column", ["start", "end"])
def test_a_truth_value_is_no_number_of_seconds(write: Write, column: str) -> None:
    path = write(f'{{"path": "one.wav", "{column}": true}}\n', "all.jsonl")
    rule = f"all.jsonl:1: column '{column}' must be a number of seconds, got True"
    with pytest.raises(DataError, match=rule):
        read(path, target=None, **{column: column})


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("1\t2", "a line must be start, end and label with tabs between, got '1\\t2'"),
        ("1\t2\t ", "a line must be start, end and label with tabs between"),
        ("x\t2\ta", "a line must be start, end and label with tabs between"),
        ("1 2 a", "a line must be start, end and label with tabs between"),
        ("2\t1\ta", "a segment must start at 0 seconds or later and end after that, got"),
        ("-1\t1\ta", "a segment must start at 0 seconds or later and end after that, got"),
    ],
)
def test_a_wrong_segment_is_named_with_its_file_and_line(
    write: Write, line: str, rule: str
) -> None:
    write(f"0\t1\ta\n{line}\n", "one.txt")
    path = write("path\tlabel\none.wav\tone.txt\n")
    with pytest.raises(DataError, match=re.escape(f"one.txt:2: {rule}")):
        read(path, segments=True)


def test_a_line_that_is_no_json_is_named(write: Write) -> None:
    path = write('{"path": "one.wav", "label": "x"}\n{"path"\n', "all.jsonl")
    with pytest.raises(DataError, match=r"all\.jsonl:2: a line must be a JSON object"):
        read(path)


@pytest.mark.parametrize(
    ("path", "arguments", "rule"),
    [
        ("all.txt", {}, "path must end in one of .csv, .tsv, .*, got 'all.txt'"),
        ("all.tsv", {"segments": True, "target": None}, "segments need a target"),
    ],
)
def test_arguments_are_refused_when_wrong(path: str, arguments: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AudioManifest(path, **arguments)
