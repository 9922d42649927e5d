from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqattn import DataError
from tasks.yesno import YesNo

SPLITS: tuple[Any, ...] = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """60 empty files with names as in the set."""
    for number in range(60):
        (tmp_path / f"{'_'.join(f'{number:06b}')}.wav").touch()
    return str(tmp_path)


def test_third_of_the_files_is_held_out_and_every_file_in_one_split(folder: str) -> None:
    keys = [[example.key for example in YesNo(folder, split).read()] for split in SPLITS]
    assert [len(part) for part in keys] == [36, 4, 20]
    assert len(set(sum(keys, []))) == 60


def test_another_seed_holds_out_other_files(folder: str) -> None:
    one, other = ({e.key for e in YesNo(folder, "test", seed=seed).read()} for seed in (0, 1))
    assert one != other


def test_target_is_the_words_of_the_name(folder: str) -> None:
    targets = {e.key: e.target for split in SPLITS for e in YesNo(folder, split).read()}
    assert targets["1_0_0_1_1_0.wav"] == "yes no no yes yes no"


def test_name_is_refused_when_it_is_no_transcript(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"0_{number + 2}.wav").touch()
    rule = r"example '0_\d\.wav': the name must be ones and zeros .*, got '0_\d'"
    with pytest.raises(DataError, match=rule):
        list(YesNo(str(tmp_path), "test").read())


def test_origin_is_named_when_the_data_is_missing() -> None:
    with pytest.raises(DataError, match="there is no such file; the data is at https://"):
        list(YesNo("none", "train").read())


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be train, val or test, got 'dev'"):
        YesNo("none", "dev")  # type: ignore[arg-type]
