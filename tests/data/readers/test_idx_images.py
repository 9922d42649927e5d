import gzip
from pathlib import Path

import numpy as np
import pytest

from seqattn import DataError
from seqattn.data import IdxImages
from seqattn.recorded import build

# Type 8 (unsigned bytes), the number of axes, each size in four bytes, most significant first.
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(12)])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 255])


def written(path: Path, content: bytes) -> str:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_images_come_with_their_labels(ending: str, tmp_path: Path) -> None:
    images = written(tmp_path / f"images{ending}", IMAGES)
    first, second = IdxImages(images, written(tmp_path / f"labels{ending}", LABELS)).read()
    assert first.source.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert second.source.tolist() == [[6, 7, 8], [9, 10, 11]]
    assert first.source.dtype == np.uint8
    assert [first.target, second.target] == ["7", "255"]
    assert [first.key, second.key] == [f"images{ending}:0", f"images{ending}:1"]


def test_images_have_no_target_without_a_file_of_labels(tmp_path: Path) -> None:
    found = list(IdxImages(written(tmp_path / "images", IMAGES)).read())
    assert [example.target for example in found] == [None, None]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (LABELS, "IDX of unsigned bytes with 3 axes, got the first bytes 00 00 08 01"),
        (IMAGES[:2] + b"\x0d" + IMAGES[3:], "IDX of unsigned bytes .* got .* 00 00 0d 03"),
        (IMAGES[:9], "IDX of unsigned bytes .* got .* 00 00 08 03"),
        (b"", "IDX of unsigned bytes with 3 axes, got the first bytes $"),
        (IMAGES[:-1], r"hold 12 values, as its sizes \[2, 2, 3\] say, got 11"),
        (IMAGES + b"\0", r"hold 12 values, as its sizes \[2, 2, 3\] say, got 13"),
        (IMAGES[:7] + b"\0" + IMAGES[8:16], "hold at least one example, got none"),
    ],
)
def test_file_is_refused_when_it_breaks_the_format(
    content: bytes, rule: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "images", content)
    with pytest.raises(DataError, match=rf"images: the file must (be )?{rule}"):
        list(IdxImages(path).read())


def test_files_are_refused_when_they_differ_in_number(tmp_path: Path) -> None:
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 1, 7])
    reader = IdxImages(written(tmp_path / "images", IMAGES), written(tmp_path / "labels", labels))
    with pytest.raises(DataError, match=r"labels: .*as many labels as .*images.* are 2, got 1"):
        list(reader.read())


@pytest.mark.parametrize("content", [IMAGES, gzip.compress(IMAGES)[:-9]])
def test_file_is_refused_when_it_is_not_whole_gzip(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"images\.gz: the file must be gzip data as its name says"):
        list(IdxImages(str(tmp_path / "images.gz")).read())


def test_file_is_refused_when_absent_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: the file must exist"):
        list(IdxImages("absent").read())
    with pytest.raises(DataError, match="the file must be readable: Is a directory"):
        list(IdxImages(str(tmp_path)).read())


def test_reader_is_made_again_from_its_spec() -> None:
    reader = IdxImages("images", "labels")
    assert build(reader.spec).spec == reader.spec
