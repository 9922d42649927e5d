import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqattn import DataError
from tasks.handwritten_digits import HandwrittenDigits

COUNT = 2600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("digits")
    size = COUNT.to_bytes(4, "big")
    labels = (np.arange(COUNT) % 10).astype(np.uint8)
    images = bytes([0, 0, 8, 3]) + size + bytes([0, 0, 0, 1, 0, 0, 0, 1]) + labels.tobytes()
    (path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    content = bytes([0, 0, 8, 1]) + size + labels.tobytes()
    (path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return str(path)


def test_splits_are_apart_and_whole(folder: str) -> None:
    splits: list[Any] = ["train", "val", "test"]
    keys = [{example.key for example in HandwrittenDigits(folder, s).read()} for s in splits]
    assert [len(found) for found in keys] == [100, 500, 2000]
    assert len(set.union(*keys)) == COUNT


def test_seed_decides_the_split(folder: str) -> None:
    first, again, other = (
        [example.key for example in HandwrittenDigits(folder, "train", seed=seed).read()]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_image_has_its_own_label(folder: str) -> None:
    for example in HandwrittenDigits(folder, "train").read():
        number = int(example.key.rpartition(":")[2])
        assert example.source.tolist() == [[number % 10]]
        assert example.target == str(number % 10)


def test_absent_file_says_where_the_data_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data is at https://"):
        list(HandwrittenDigits(str(tmp_path), "test").read())


def test_split_is_refused_when_unknown() -> None:
    wrong: Any = "dev"
    with pytest.raises(ValueError, match="split must be train, val or test, got 'dev'"):
        HandwrittenDigits("folder", wrong)
