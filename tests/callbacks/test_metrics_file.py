import csv
from pathlib import Path

from seqattn.callbacks.metrics_file import MetricsFile


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_file_is_there_before_anything_is_logged(tmp_path: Path) -> None:
    MetricsFile(tmp_path)
    assert (tmp_path / "metrics.csv").read_text().strip() == "step"


def test_values_of_one_step_share_a_row(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"a": 1.0}, step=3)
    logger.log_metrics({"b": 0.25}, step=3)
    logger.save()
    assert rows(logger.path) == [{"step": "3", "a": "1", "b": "0.25"}]


def test_a_new_column_keeps_the_rows_before_it(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.save()
    logger.log_metrics({"b": 2.0}, step=2)
    logger.save()
    assert rows(logger.path) == [
        {"step": "1", "a": "1", "b": ""},
        {"step": "2", "a": "", "b": "2"},
    ]


def test_what_was_saved_is_not_written_twice(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.save()
    logger.finalize("success")
    assert len(rows(logger.path)) == 1
