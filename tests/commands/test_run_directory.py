import os
import time
from pathlib import Path

import pytest

from seqattn.commands.run_directory import Runs, config_name, is_child_process, remove_unused


def refuse_empty(path: Path) -> None:
    if not path.read_bytes():
        raise ValueError(f"{path} is empty")


def checkpoint(runs: Runs, run: str, name: str, age: int, content: bytes = b"x") -> Path:
    path = runs.folder / run / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_two_runs_of_one_second_get_two_directories(tmp_path: Path) -> None:
    moment = time.gmtime(0)
    made = [Runs(tmp_path, "tiny").create(lambda: moment).name for _ in range(3)]
    assert made == ["1970-01-01T00-00-00", "1970-01-01T00-00-00-2", "1970-01-01T00-00-00-3"]


def test_last_is_the_newest_valid_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(tmp_path, "tiny")
    wanted = checkpoint(runs, "a", "last.ckpt", age=5)
    checkpoint(runs, "a", "best.ckpt", age=9)
    damaged = checkpoint(runs, "b", "last.ckpt", age=1, content=b"")
    assert runs.newest_valid("last", refuse_empty) == wanted
    assert f"{damaged} is empty" in capsys.readouterr().err


def test_last_passes_over_means_and_what_errors_left(tmp_path: Path) -> None:
    runs = Runs(tmp_path, "tiny")
    wanted = checkpoint(runs, "a", "last.ckpt", age=5)
    checkpoint(runs, "b", "average.ckpt", age=1)
    checkpoint(runs, "b", "on_exception.ckpt", age=1)
    assert runs.newest_valid("last", refuse_empty) == wanted


def test_best_is_that_of_the_newest_run_that_has_one(tmp_path: Path) -> None:
    runs = Runs(tmp_path, "tiny")
    wanted = checkpoint(runs, "a", "best.ckpt", age=5)
    checkpoint(runs, "b", "last.ckpt", age=1)
    assert runs.newest_valid("best", refuse_empty) == wanted


def test_other_configs_runs_are_not_looked_at(tmp_path: Path) -> None:
    checkpoint(Runs(tmp_path, "other"), "a", "last.ckpt", age=1)
    with pytest.raises(ValueError, match=r"ckpt_path=last must find .* got none"):
        Runs(tmp_path, "tiny").newest_valid("last", refuse_empty)


def test_a_directory_without_a_config_is_removed_with_the_empty_ones_above(tmp_path: Path) -> None:
    directory = Runs(tmp_path, "tiny").create()
    (directory / "metrics.csv").write_text("step\n")
    remove_unused(directory)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_a_config_stays_and_so_do_other_runs(tmp_path: Path) -> None:
    used, unused = Runs(tmp_path, "tiny").create(), Runs(tmp_path, "tiny").create()
    (used / "config.yaml").write_text("")
    for directory in (used, unused):
        remove_unused(directory)
    assert list((tmp_path / "runs" / "tiny").iterdir()) == [used]


def test_the_first_config_names_the_runs() -> None:
    assert config_name(["configs/slots.yaml", "configs/bf16.yaml"], None) == "slots"


def test_a_checkpoint_names_the_runs_where_no_config_does() -> None:
    path = "/x/runs/slots/2026-01-01T00-00-00/checkpoints/best.ckpt"
    assert config_name([], path) == "slots"
    assert config_name([], "/x/best.ckpt") == "unnamed"


def test_a_launched_process_is_a_child_unless_its_rank_is_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert not is_child_process()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not is_child_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert is_child_process()
