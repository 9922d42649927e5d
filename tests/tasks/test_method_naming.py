from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from seqattn import Example, TextFrontEnd
from tasks.method_naming import MethodNames, MethodNaming, SubwordF1, score_most_frequent
from tests.heads.small_heads import build_on, encoder
from tests.heads.small_seq2seq import decoder

SOURCE = "import x\n\ndef read_all(a):\n    return a.read()\n"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small module, one that does not parse, and one that is missing."""

    def read(modules: list[str]) -> dict[str, str]:
        return dict(zip(modules, [SOURCE, "def ("], strict=False))

    monkeypatch.setattr("tasks.method_naming.read_sources", read)


def only(**arguments: Any) -> Example:
    (example,) = MethodNames("val", **arguments).read()
    return example


def test_text_is_a_list_of_tokens_and_the_target_of_subwords() -> None:
    example = only()
    assert example.source[:4] == ["def", "<name>", "(", "a"]
    assert example.target == ["read", "all"]
    assert example.key.endswith(":3")


def test_nodes_are_the_tree_without_its_edges() -> None:
    tree, nodes = only(source="tree").source, only(source="nodes").source
    assert np.array_equal(tree.categories, nodes.categories)
    assert tree.edge_index.shape[1] > 0
    assert nodes.edge_index.shape[1] == 0


def test_source_is_cut_when_it_is_too_long() -> None:
    assert only(max_length=2).source == ["def", "<name>"]
    assert only(source="tree", max_length=3).source.num_nodes == 3


def test_modules_are_listed_when_missing_or_broken(caplog: pytest.LogCaptureFixture) -> None:
    reader = MethodNames("val", fraction=0.1)
    _, broken, lost = reader.modules
    with caplog.at_level(logging.INFO, logger="tasks.method_naming"):
        list(reader.read())
    assert reader.skipped == [lost, broken]
    assert f"val: of 3 modules skipped: {lost} {broken}" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"source": "graph"}, "source must be text, tree or nodes, got 'graph'"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], got 0.0"),
    ],
)
def test_arguments_are_refused_when_wrong(arguments: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        MethodNames("val", **arguments)


def test_f1_counts_every_subword_as_often_as_in_both() -> None:
    metric = SubwordF1()
    metric.update([["a", "a", "b"], []], [["b", "a", "c"], ["d"]])
    # 2 found, of 3 predicted and 4 wanted.
    assert float(metric.compute()) == pytest.approx(2 * 2 / (3 + 4))


def test_f1_is_nothing_without_a_subword() -> None:
    assert SubwordF1().compute().isnan()


def test_most_frequent_name_is_scored() -> None:
    names = [["get"], ["read", "line"], ["read", "line"]]
    train = [Example(None, name) for name in names]
    found = score_most_frequent(train, [Example(None, ["read"]), Example(None, ["read", "line"])])
    assert found["name"] == ["read", "line"]
    assert found["exact_match"] == 0.5
    assert found["subword_f1"] == pytest.approx(2 * 3 / (4 + 3))


def test_head_reports_f1_of_what_it_writes() -> None:
    made: Any = MethodNaming(
        TextFrontEnd(), encoder(), decoder(), target_units="token", max_length=3
    )
    build_on(made, [only()])
    made.eval()
    with torch.no_grad():
        made.step(made.collate([only()]), "test")
    assert 0 <= float(made.metrics["test_metrics"]["subword_f1"].compute()) <= 1
    assert (
        "subword_f1"
        not in build_on(
            MethodNaming(
                TextFrontEnd(), encoder(), decoder(), target_units="token", decode_examples=0
            ),
            [only()],
        ).build_metrics()
    )
