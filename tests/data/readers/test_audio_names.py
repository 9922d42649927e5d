from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from seqattn import AudioClip, DataError, Example
from seqattn.data import AudioNames
from seqattn.recorded import build
from tests.data.readers.test_audio_files import pack, touch

PATTERN = "{label}_{speaker}_{index}.wav"
NAMES = [f"set/{d}_{who}_{i}.wav" for d in (0, 1) for who in ("ann", "bob") for i in (4, 5, 10)]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return touch(tmp_path, NAMES)


def keys(path: str, **arguments: Any) -> list[str]:
    found = AudioNames(path, PATTERN, **arguments).read()
    return [example.key.removeprefix("set/").removesuffix(".wav") for example in found]


def test_a_group_of_the_name_is_the_target(folder: str) -> None:
    first, *others = AudioNames(folder, PATTERN).read()
    assert first == Example(str(Path(folder, "set/0_ann_10.wav")), "0", "set/0_ann_10.wav")
    assert len(others) == 11
    assert next(AudioNames(folder, PATTERN, target="speaker").read()).target == "ann"
    assert next(AudioNames(folder, PATTERN, target=None).read()).target is None


def test_an_archive_reads_as_its_folder_does(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", NAMES)
    first = next(AudioNames(path, PATTERN).read())
    name = "set/0_ann_10.wav"
    assert first == Example(AudioClip(path, member=name), "0", name)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"where": {"speaker": ["bob"], "index": ["0-5"], "label": ["1"]}}, "1_bob_4 1_bob_5"),
        ({"where": {"index": [10], "label": [0]}}, "0_ann_10 0_bob_10"),
        ({"where": {"index": ["10-10", "4"], "label": [0], "speaker": ["ann"]}},
         "0_ann_10 0_ann_4"),
        ({"exclude": {"speaker": ["ann"], "index": ["5-10"]}}, "0_bob_4 1_bob_4"),
        ({"where": {"label": ["1"]}, "exclude": {"speaker": ["ann"]}}, "1_bob_10 1_bob_4 1_bob_5"),
    ],
)  # fmt: skip
def test_files_are_kept_by_the_values_of_their_groups(
    folder: str, arguments: Any, expected: str
) -> None:
    assert keys(folder, **arguments) == expected.split()


def test_numbers_are_equal_with_leading_zeros_and_ranges_are_text_for_other_groups(
    tmp_path: Path,
) -> None:
    path = touch(tmp_path, ["1-3_ann_007.wav", "2_ann_7x.wav"])
    assert keys(path, where={"index": [7]}) == ["1-3_ann_007"]
    assert keys(path, where={"label": ["1-3"]}) == ["1-3_ann_007", "2_ann_7x"]
    assert keys(path, where={"index": ["7-7"]}) == ["1-3_ann_007"]


def test_a_pattern_with_folders_is_compared_with_as_many(tmp_path: Path) -> None:
    path = touch(tmp_path, ["x/ann/yes.wav", "x/bob/no_1.wav", "bob/no.wav"])
    reader = AudioNames(path, "{speaker}/{label}.wav", where={"speaker": ["bob"]})
    assert [(e.target, e.key) for e in reader.read()] == [
        ("no", "bob/no.wav"),
        ("no_1", "x/bob/no_1.wav"),
    ]


def test_a_pattern_holds_what_expressions_would_read_otherwise(tmp_path: Path) -> None:
    path = touch(tmp_path, ["a+(1).wav"])
    assert next(AudioNames(path, "{label}+(1).wav").read()).target == "a"


@pytest.mark.parametrize("name", ["1_ann.wav", "1__3.wav", "1_ann_3.flac"])
def test_a_file_of_another_pattern_is_an_error_or_left_out(
    folder: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    touch(Path(folder), [name])
    with pytest.raises(DataError, match=f"pattern '{PATTERN}', got '{name}'.*unmatched='skip'"):
        keys(folder)
    caplog.set_level(logging.INFO, "seqattn.data.readers.audio_names")
    assert len(keys(folder, unmatched="skip")) == 12
    assert "1 of 13 sound files are not of the pattern" in caplog.text


def test_filters_that_keep_no_file_are_refused(folder: str) -> None:
    with pytest.raises(DataError, match=r"must keep a file .*, got where {'label': \[0\]} and "):
        keys(folder, where={"label": [0]}, exclude={"label": ["0-1"]})
    with pytest.raises(DataError, match="must keep a file of the pattern"):
        list(AudioNames(folder, "{label}.flac", where={"label": [1]}, unmatched="skip").read())


@pytest.mark.parametrize("argument", ["where", "exclude"])
@pytest.mark.parametrize(
    ("group", "values", "rule"),
    [
        ("speaker", ["ann", "Bob"], "'speaker' must be that of a file, got 'Bob' and files of 'an"),
        ("speaker", ["eve"], "must be that of a file, got 'eve' and files of 'ann', 'bob'"),
        ("index", ["0-5", "11-20"], "must be that of a file, got '11-20' and files of '10', '4'"),
    ],
)
def test_a_value_that_no_file_has_is_refused(
    folder: str, argument: str, group: str, values: list[str], rule: str
) -> None:
    with pytest.raises(DataError, match=rule):
        keys(folder, **{argument: {group: values}})


def test_a_refused_value_is_not_answered_with_hundreds(tmp_path: Path) -> None:
    path = touch(tmp_path, [f"{digit}.wav" for digit in range(30)])
    with pytest.raises(DataError, match=r"got 99 and files of '0', .* and 20 others$"):
        list(AudioNames(path, "{label}.wav", where={"label": [99]}).read())


@pytest.mark.parametrize(
    ("pattern", "arguments", "kind", "rule"),
    [
        ("a.wav", {}, ValueError, "pattern must have groups such as {label}, got 'a.wav'"),
        ("{}.wav", {}, ValueError, "pattern must have groups such as {label}, got '{}.wav'"),
        ("{label.wav", {}, ValueError, "pattern must close its braces, got '{label.wav'"),
        ("{a}{a}", {}, ValueError, "pattern must have each group once, got '{a}{a}'"),
        ("{word}", {}, ValueError, "the groups that are used, got none 'label' in '{word}'"),
        (PATTERN, {"where": {"who": ["x"]}}, ValueError, "groups that are used, got none 'who'"),
        (PATTERN, {"exclude": {"who": ["x"]}}, ValueError, "groups that are used, got none 'who'"),
        (PATTERN, {"where": {"index": ["5-4"]}}, ValueError, "must not be empty, got '5-4'"),
        (PATTERN, {"where": {"index": "5"}}, TypeError, "group 'index' must be a list, got '5'"),
        (PATTERN, {"unmatched": "x"}, ValueError, "unmatched must be error or skip, got 'x'"),
    ],
)
def test_arguments_are_refused_when_wrong(
    pattern: str, arguments: Any, kind: type[Exception], rule: str
) -> None:
    with pytest.raises(kind, match=rule):
        AudioNames("gone", pattern, **arguments)


def test_the_reader_is_made_again_from_its_record(folder: str) -> None:
    reader = AudioNames(folder, PATTERN, where={"index": ["0-5"], "label": [1]})
    assert list(build(reader.spec).read()) == list(reader.read())
