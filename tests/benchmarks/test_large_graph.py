from __future__ import annotations

import numpy as np
import pytest

from benchmarks.large_graph import (
    MODELS,
    BlockGraph,
    draw_edges,
    make_row,
    most_nodes,
    parse,
    run,
    run_apart,
)


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


@pytest.mark.parametrize("name", MODELS)
def test_each_model_gives_its_figures_when_run_quickly(name: str) -> None:
    options = parse(["--quick"])
    figures = run(options, name)
    assert 0 <= figures["accuracy"] <= 1
    assert len(figures["memory after each epoch, MiB"]) == options.epochs
    row = make_row(options, name, figures)
    assert row.figures == figures
    assert "2000 nodes, 20000 directed edges" in row.data


def test_end_of_a_process_is_told_when_it_fails() -> None:
    with pytest.raises(RuntimeError, match="(?s)features must train, got exit code 2.*--no-such"):
        run_apart("features", ["--no-such"])
