from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import record, study

CONFIG = Path(__file__).parents[2] / "configs" / "python_roles.yaml"


def test_values_are_listed_or_counted() -> None:
    assert study.values("weight=ignore,replace") == ("weight", ["ignore", "replace"])
    assert study.values("seed=8..10") == ("seed", ["8", "9", "10"])
    assert study.values("depth=3") == ("depth", ["3"])


@pytest.mark.parametrize("word", ["seed", "seed=", "=1"])
def test_values_are_refused_without_name_or_value(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be NAME=A,B or NAME=0..9"):
        study.values(word)


def test_combinations_are_all_of_them() -> None:
    assert study.combinations([("a", ["1", "2"]), ("b", ["x"])]) == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": "x"},
    ]
    assert study.combinations([]) == [{}]


def test_figures_are_mean_and_sample_deviation() -> None:
    figures = study.summarize([{"test/accuracy": 0.5}, {"test/accuracy": 1.0}])

    assert figures["runs"] == 2
    assert figures["test/accuracy"] == 0.75
    assert figures["test/accuracy, standard deviation"] == pytest.approx(0.125**0.5)
    assert figures["test/accuracy, every run"] == [0.5, 1.0]
    assert study.shown(figures) == {"test/accuracy": "0.7500 ± 0.3536"}


def test_study_trains_tests_and_records(tmp_path: Path) -> None:
    study.main(
        ["roles", "--config", str(CONFIG), "--quick", "--results", str(tmp_path)]
        + ["--each", "depth=1,2", "--over", "seed=3..4"]
        + ["--set", "model.encoder.depth={depth}", "model.encoder.dim=8", "seed_everything={seed}"]
    )

    rows = record.read_rows(tmp_path, "roles")

    assert [row["name"] for row in rows] == ["depth=1", "depth=2"]
    assert rows[0]["seeds"] == [3, 4]
    assert "depth 2" in str(rows[1]["model"])
    figures = rows[0]["figures"]
    assert isinstance(figures, dict)
    assert 0 <= figures["test/accuracy"] <= 1
