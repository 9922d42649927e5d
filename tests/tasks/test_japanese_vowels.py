from pathlib import Path
from typing import Any

import pytest

from seqattn import DataError
from tasks.japanese_vowels import JapaneseVowels

HEADER = "@dimensions 2\n@classLabel true 1 2\n@data\n"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name, count in (("TRAIN", 60), ("TEST", 5)):
        lines = [f"{number},1:2,{number}:{1 + number % 2}\n" for number in range(count)]
        (tmp_path / f"JapaneseVowels_{name}.ts").write_text(HEADER + "".join(lines))
    return str(tmp_path)


def keys(folder: str, split: Any, **settings: int) -> set[str]:
    return {example.key for example in JapaneseVowels(folder, split, **settings).read()}


def test_validation_is_taken_from_the_training_file(folder: str) -> None:
    train, val = keys(folder, "train"), keys(folder, "val")
    assert (len(train), len(val)) == (33, 27)
    assert not train & val
    assert all(key.startswith("JapaneseVowels_TRAIN.ts:") for key in train | val)
    assert keys(folder, "val", seed=1) != val


def test_test_file_is_whole(folder: str) -> None:
    examples = list(JapaneseVowels(folder, "test").read())
    assert [example.key for example in examples] == [
        f"JapaneseVowels_TEST.ts:{line}" for line in range(4, 9)
    ]
    assert examples[3].source.tolist() == [[3, 2], [1, 3]]
    assert examples[3].target == "2"


@pytest.mark.parametrize("split", ["train", "test"])
def test_absent_file_says_where_the_data_is(split: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data is at https://"):
        list(JapaneseVowels(str(tmp_path), split).read())


def test_split_is_refused_when_unknown() -> None:
    wrong: Any = "dev"
    with pytest.raises(ValueError, match="split must be train, val or test, got 'dev'"):
        JapaneseVowels("folder", wrong)
