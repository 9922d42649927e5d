import gzip
from pathlib import Path

import numpy as np
import pytest

from seqattn import DataError
from seqattn.data import TimeSeries
from seqattn.recorded import build

HEADER = """# A comment
@problemName Two
@timeStamps false
@univariate false
@dimensions 2
@classLabel true up down
@data
"""


def written(path: Path, text: str) -> TimeSeries:
    path.write_text(text, encoding="utf-8")
    return TimeSeries(str(path))


def test_channels_are_columns_and_the_class_is_the_target(tmp_path: Path) -> None:
    reader = written(tmp_path / "x.ts", HEADER + "1,2,3:4,5e0,-6:up\n\n# note\n7:8.5: down \n")
    first, second = reader.read()
    assert first.source.tolist() == [[1, 4], [2, 5], [3, -6]]
    assert first.source.dtype == np.float64
    assert second.source.tolist() == [[7, 8.5]]
    assert [(example.target, example.key) for example in (first, second)] == [
        ("up", "x.ts:8"),
        ("down", "x.ts:11"),
    ]


def test_file_is_unpacked_when_gzip(tmp_path: Path) -> None:
    (tmp_path / "x.ts.gz").write_bytes(gzip.compress((HEADER + "1:2:up\n").encode()))
    (example,) = TimeSeries(str(tmp_path / "x.ts.gz")).read()
    assert example.key == "x.ts.gz:8"


@pytest.mark.parametrize(
    ("header", "line", "target"),
    [
        ("@univariate true\n@classLabel true a b\n", "1,2:b", "b"),
        ("@targetLabel true\n", "1,2:3.25", "3.25"),
        ("@classLabel false\n", "1,2", None),
        ("@CLASSLABEL true a\n", "1,2:a", "a"),
        ("", "1,2", None),
    ],
)
def test_last_field_is_what_the_header_says(
    header: str, line: str, target: str | None, tmp_path: Path
) -> None:
    (example,) = written(tmp_path / "x.ts", f"{header}@Data\n{line}\n").read()
    assert example.source.tolist() == [[1], [2]]
    assert example.target == target


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("1:2:3:up", "a line must have 2 channels and a label, got 3 channels"),
        ("1:up", "a line must have 2 channels and a label, got 1 channels"),
        ("up", "a line must have 2 channels and a label, got 0 channels"),
        ("1:2:left", "the class must be one of down, up, got 'left'"),
        ("1,2:3:up", r"channels of a line must be equally long, got \[1, 2\] steps"),
        ("1,?:3,4:up", r"a value must be a finite number, got '\?'"),
        ("1,2:3,nan:up", "a value must be a finite number, got 'nan'"),
        ("1,2:3,1e999:up", "a value must be a finite number, got '1e999'"),
        ("1,2::up", "a value must be a finite number, got ''"),
    ],
)
def test_line_is_refused_when_it_breaks_the_format(line: str, rule: str, tmp_path: Path) -> None:
    reader = written(tmp_path / "x.ts", f"{HEADER}1:2:up\n{line}\n")
    with pytest.raises(DataError, match=rf"x\.ts:9: {rule}"):
        list(reader.read())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("@timeStamps true\n@data\n(1,2):a\n", r":2: the header must say @timeStamps false, got t"),
        ("@dimensions two\n@data\n1:a\n", r":2: @dimensions must be a whole number, got 'two'"),
        ("1,2:a\n", r":1: the header's lines must begin with @, got '1,2:a'"),
        ("@classLabel true a\n", r": the file must have a line @data, got none"),
        ("@data\n", r": the file must hold at least one example, got none"),
    ],
)
def test_header_is_refused_when_it_breaks_the_format(text: str, rule: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"x\.ts{rule}"):
        list(written(tmp_path / "x.ts", text).read())


def test_file_is_refused_when_absent() -> None:
    with pytest.raises(DataError, match=r"absent\.ts: the file must exist"):
        list(TimeSeries("absent.ts").read())


def test_reader_is_made_again_from_its_spec() -> None:
    reader = TimeSeries("x.ts")
    assert build(reader.spec).spec == reader.spec
