from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import record


def row(name: str, value: float) -> record.Row:
    return record.Row(name, "a model", "some data", "a metric", [1], {"value": value})


def test_a_row_says_where_it_comes_from_when_written(tmp_path: Path) -> None:
    record.write_rows(tmp_path, "try", "python -m benchmarks.try", [row("one", 1.5)])

    (found,) = json.loads((tmp_path / "try.json").read_text())["rows"]
    assert found["name"] == "one"
    assert found["figures"] == {"value": 1.5}
    assert found["command"] == "python -m benchmarks.try"
    assert set(found["versions"]) == {"seqattn", "torch", "lightning", "torchmetrics"}
    assert all(found[key] for key in ("date", "commit", "python", "cpu", "cores", "threads"))


def test_a_row_replaces_the_one_of_its_name_and_leaves_the_others(tmp_path: Path) -> None:
    record.write_rows(tmp_path, "try", "first", [row("one", 1.0), row("two", 2.0)])
    record.write_rows(tmp_path, "try", "second", [row("two", 3.0)])

    found = record.read_rows(tmp_path, "try")
    assert [(r["name"], r["figures"], r["command"]) for r in found] == [
        ("one", {"value": 1.0}, "first"),
        ("two", {"value": 3.0}, "second"),
    ]


def test_nothing_is_written_without_a_folder() -> None:
    record.write_rows(None, "try", "command", [row("one", 1.0)])

    assert record.read_rows(None, "try") == []


@pytest.mark.parametrize(
    ("words", "folder"),
    [([], record.RESULTS), (["--quick"], None), (["--quick", "--results", "x"], Path("x"))],
)
def test_a_quick_run_is_not_recorded_unless_asked(words: list[str], folder: Path | None) -> None:
    parser = argparse.ArgumentParser()
    record.add_options(parser)

    assert record.results_folder(parser.parse_args(words)) == folder


def test_a_command_names_files_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data", str(tmp_path / "a b.txt"), f"--results={tmp_path / 'out'}", "--seed=1"]

    found = record.command_line("try", words)

    assert found == "python -m benchmarks.try --data 'a b.txt' --results=out --seed=1"


def test_columns_are_aligned_when_printed(capsys: pytest.CaptureFixture[str]) -> None:
    record.print_table([{"name": "long name", "value": 1.23456}, {"name": "x", "value": 7}])

    assert capsys.readouterr().out == "name       value\nlong name  1.235\nx          7\n"
