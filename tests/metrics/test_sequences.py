from __future__ import annotations

import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from seqattn.metrics.error_rates import ErrorRate
from seqattn.metrics.overlap import Bleu, Chrf, Rouge
from seqattn.metrics.sequences import ExactMatch, SequenceMetric
from tests.metrics import two_processes


def value(metric: SequenceMetric, predictions: list[Any], references: list[Any]) -> float:
    metric.update(predictions, references)
    return float(metric.compute())


def all_metrics() -> list[SequenceMetric]:
    rates = [ErrorRate("token"), ErrorRate("word"), ErrorRate("character")]
    return [ExactMatch(), *rates, Bleu(), Chrf(), Rouge("1"), Rouge("L")]


def test_exact_match_by_hand() -> None:
    assert value(ExactMatch(), ["a b", "a", ""], ["a b", "b", ""]) == pytest.approx(2 / 3)


def test_any_alternative_matches() -> None:
    found = [["K", "AE1"], ["K", "AE0"], ["K"]]
    wanted = [(["K", "AE1"], ["K", "AE0"])] * 3
    assert value(ExactMatch(), found, wanted) == pytest.approx(2 / 3)


def test_a_list_is_one_reference_and_no_alternatives() -> None:
    assert value(ExactMatch(), ["a"], [["a", "b"]]) == 0


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: f"{type(m).__name__}")
def test_a_metric_that_saw_nothing_is_not_a_number(metric: SequenceMetric) -> None:
    metric.update([], [])
    assert math.isnan(float(metric.compute()))


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: f"{type(m).__name__}")
def test_batches_add_up_to_the_corpus(metric: SequenceMetric) -> None:
    corpus = two_processes.CORPUS
    whole = value(metric, *map(list, zip(*corpus, strict=True)))
    metric.reset()
    for pair in corpus:
        metric.update([pair[0]], [pair[1]])
    assert float(metric.compute()) == whole


def test_states_survive_a_bfloat16_module() -> None:
    metric = Rouge("1").to(torch.bfloat16)
    assert value(metric, ["a b c"], ["a"]) == pytest.approx(0.5)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    store, values = str(tmp_path / "store"), str(tmp_path / "values.pt")
    forking = multiprocessing.get_context("fork")
    ranks = [
        forking.Process(target=two_processes.main, args=(store, values, rank)) for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=60)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    found = torch.load(tmp_path / "values.pt", weights_only=True)
    corpus = [list(column) for column in zip(*two_processes.CORPUS, strict=True)]
    assert found == [value(metric, *corpus) for metric in two_processes.metrics()]


@pytest.mark.parametrize(
    ("predictions", "references", "rule"),
    [
        (["a"], [], r"references must be one for each prediction \(1\), got 0"),
        (["a"], [()], "references must hold at least one alternative, got an empty tuple"),
    ],
)
def test_references_that_do_not_fit_are_refused(
    predictions: Any, references: Any, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        ExactMatch().update(predictions, references)


@pytest.mark.parametrize(
    ("predictions", "references", "rule"),
    [
        ([3], ["a"], "predictions must be strings or lists of strings, got 3"),
        (["a"], [[1, 2]], r"references must be strings or lists of strings, got \[1, 2\]"),
        (["a"], [("a", None)], "references must be strings or lists of strings, got None"),
    ],
)
def test_what_is_no_text_is_refused(predictions: Any, references: Any, rule: str) -> None:
    with pytest.raises(TypeError, match=rule):
        ExactMatch().update(predictions, references)
