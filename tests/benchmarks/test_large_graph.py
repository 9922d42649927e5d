from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.large_graph import BlockGraph, draw_edges, main, most_nodes


def test_edges_stay_in_their_class_as_often_as_they_should() -> None:
    labels = np.arange(1000) % 10
    edges = draw_edges(labels, 50_000, np.random.default_rng(0))
    within = (labels[edges[0]] == labels[edges[1]]).mean()
    assert edges.min() >= 0
    assert edges.max() < 1000
    assert abs(within - (0.6 + 0.4 * 0.1)) < 0.01  # five deviations: a tenth of the others too


def test_graph_lists_both_directions_and_depends_on_its_seed() -> None:
    first, again, other = (next(BlockGraph(200, 500, seed=s).read()) for s in (1, 1, 2))
    index = first.source.edge_index
    assert index.shape == (2, 1000)
    assert np.array_equal(index[:, 500:], index[::-1, :500])
    assert np.array_equal(first.source.features, again.source.features)
    assert first.target == again.target != other.target


def test_budget_is_that_of_one_neighborhood() -> None:
    assert most_nodes(4, [3, 2]) == 4 + 12 + 24


def test_both_models_are_recorded_when_run_quickly(tmp_path: Path) -> None:
    main(["--quick", "--results", str(tmp_path)])
    rows = json.loads((tmp_path / "large_graph.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["features alone", "two hops of neighbours"]
    for row in rows:
        assert 0 <= row["figures"]["accuracy"] <= 1
        assert row["figures"]["growth after the first epoch, MiB"] >= 0
