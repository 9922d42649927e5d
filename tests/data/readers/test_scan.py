from __future__ import annotations

from pathlib import Path

import pytest

from seqattn import DataError, Example
from seqattn.data import Commands


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "tasks.txt"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_commands_and_actions_are_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "IN: jump twice OUT: I_JUMP I_JUMP\n\n IN: look  OUT: I_LOOK \n")
    assert list(Commands(path).read()) == [
        Example("jump twice", "I_JUMP I_JUMP", "tasks.txt:1"),
        Example("look", "I_LOOK", "tasks.txt:3"),
    ]


@pytest.mark.parametrize(
    "line", ["jump OUT: I_JUMP", "IN: jump", "IN: OUT: I_JUMP", "IN: jump OUT: ", "IN: jump OUT:I"]
)
def test_line_is_refused_when_it_lacks_a_side(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"IN: walk OUT: I_WALK\n{line}\n")
    with pytest.raises(DataError, match=r"tasks\.txt:2: a line must be 'IN: command OUT: actions'"):
        list(Commands(path).read())


def test_file_is_refused_when_it_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.txt: .*at least one example"):
        list(Commands(write(tmp_path, "")).read())
