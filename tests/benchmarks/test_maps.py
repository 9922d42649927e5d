from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import maps, record


@pytest.mark.filterwarnings("ignore")
def test_maps_are_timed_and_recorded_when_run_quickly(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'wandb'")

    maps.main(["--quick", "--results", str(tmp_path)])

    rows = record.read_rows(tmp_path, "maps")
    assert [str(row["name"]).split(":")[0] for row in rows] == ["16 maps", "4 maps", "48 maps"]
    for row in rows:
        figures = row["figures"]
        assert isinstance(figures, dict)
        assert figures["epoch, s"] == pytest.approx(500 * figures["training step, s"])
        assert figures["share, %"] == pytest.approx(100 * figures["maps, s"] / figures["epoch, s"])
