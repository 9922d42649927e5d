from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqattn import DataError
from tasks.spoken_digits import SpokenDigits

SPEAKERS = ("ann", "bob", "eve")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Empty files with the set's names."""
    for digit in (0, 7):
        for speaker in SPEAKERS:
            for index in range(50):
                (tmp_path / f"{digit}_{speaker}_{index}.wav").touch()
    return str(tmp_path)


def found(folder: str, split: Any, held_out: str | None = None) -> set[tuple[str, str, int]]:
    """Digit, speaker and index of each example."""
    examples = SpokenDigits(folder, split, held_out=held_out).read()
    names = [(example.target, Path(example.key).stem.split("_")) for example in examples]
    assert all(target == parts[0] for target, parts in names)
    return {(digit, speaker, int(index)) for _, (digit, speaker, index) in names}


def grid(speakers: Any, indices: Any) -> set[tuple[str, str, int]]:
    return {(digit, who, index) for digit in "07" for who in speakers for index in indices}


def test_the_official_rule_is_the_default(folder: str) -> None:
    assert found(folder, "test") == grid(SPEAKERS, range(5))
    assert found(folder, "val") == grid(SPEAKERS, range(45, 50))
    assert found(folder, "train") == grid(SPEAKERS, range(5, 45))


def test_a_held_out_speaker_is_the_test_and_nothing_else(folder: str) -> None:
    assert found(folder, "test", "bob") == grid(["bob"], range(50))
    assert found(folder, "val", "bob") == grid(["ann", "eve"], range(45, 50))
    assert found(folder, "train", "bob") == grid(["ann", "eve"], range(45))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_speaker_whom_nobody_knows_is_refused(folder: str, split: Any) -> None:
    with pytest.raises(DataError, match="'speaker' must be that of a file, got 'Ann' and files of"):
        list(SpokenDigits(folder, split, held_out="Ann").read())


def test_missing_data_says_where_it_is() -> None:
    with pytest.raises(DataError, match="gone: there is no such file; the data is at https://"):
        list(SpokenDigits("gone", "test").read())


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be train, val or test, got 'dev'"):
        SpokenDigits("gone", "dev")  # type: ignore[arg-type]
