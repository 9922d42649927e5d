from __future__ import annotations

from pathlib import Path

import pytest

from seqattn import DataError
from tasks.commands import Scan


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "tasks.txt"
    file.write_text("".join(f"IN: walk {n} OUT: I_WALK {n}\n" for n in range(10)))
    return str(file)


def test_parts_hold_every_command_once(path: str) -> None:
    train, val = (
        [example.key for example in Scan(path, part, held_out=3).read()]  # type: ignore[arg-type]
        for part in ("train", "val")
    )
    assert (len(train), len(val)) == (7, 3)
    assert sorted(train + val) == sorted(example.key for example in Scan(path).read())


def test_commands_are_strings(path: str) -> None:
    first = next(Scan(path).read())
    assert (first.source, first.target, first.key) == ("walk 0", "I_WALK 0", "tasks.txt:1")


def test_origin_is_named_when_the_file_is_missing() -> None:
    with pytest.raises(DataError, match="there is no such file; the data is at https://"):
        list(Scan("none", "train").read())


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be all, train or val, got 'test'"):
        Scan("none", "test")  # type: ignore[arg-type]
