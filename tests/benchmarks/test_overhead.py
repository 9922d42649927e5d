from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import overhead, record


@pytest.mark.filterwarnings("ignore")
def test_loop_and_command_are_recorded_when_run_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = os.getcwd()

    overhead.main(["--quick", "--results", str(tmp_path)])

    (row,) = record.read_rows(tmp_path, "overhead")
    figures = row["figures"]
    assert isinstance(figures, dict)
    assert {"bare loop, µs", "command, µs", "with progress bar, µs"} <= figures.keys()
    assert figures["overhead, µs"] == figures["command, µs"] - figures["bare loop, µs"]
    assert (os.getcwd(), os.environ["WANDB_MODE"]) == (before, "offline")
