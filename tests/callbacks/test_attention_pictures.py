from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqattn.maps import AttentionMap

pytest.importorskip("matplotlib", reason="needs the extra 'wandb'")

from seqattn.callbacks.attention_graphs import draw_graph
from seqattn.callbacks.attention_pictures import draw_weights, readable, save_picture


def made(length: int, layers: int = 1, heads: int = 2, width: int | None = None) -> AttentionMap:
    weights = torch.rand(layers, heads, length, length).softmax(-1)
    labels = tuple(f"word{i}" for i in range(length))
    changes = None if width is None else torch.rand(layers, heads, length, width)
    numbers = (tuple(range(layers)), tuple(range(heads)))
    return AttentionMap(weights, labels, labels, *numbers, contributions=changes)


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_head_has_a_panel_with_the_weights() -> None:
    found = made(3, layers=2, heads=2)
    figure = draw_weights(found, "title")
    panels = {axes.get_title(): axes for axes in figure.axes if axes.images}
    assert set(panels) == {f"layer {i} · head {j}" for i in (0, 1) for j in (0, 1)}
    shown = torch.tensor(panels["layer 1 · head 0"].images[0].get_array())
    assert torch.equal(shown, found.weights[1, 0])
    words = ["word0", "word1", "word2"]
    assert {title: labels(axes) for title, axes in panels.items()} == {
        "layer 0 · head 0": words,  # rows, beside the first column
        "layer 0 · head 1": [],
        "layer 1 · head 0": [*words, *words],
        "layer 1 · head 1": words,  # columns, below the last row
    }


def test_a_cross_map_has_the_labels_of_both_sides() -> None:
    found = AttentionMap(torch.rand(1, 1, 2, 3), ("HH", "END"), ("h", "e", "y"), (0,), (0,))
    (panel,) = [axes for axes in draw_weights(found, "title").axes if axes.images]
    assert labels(panel) == ["HH", "END", "h", "e", "y"]
    assert panel.images[0].get_array().shape == (2, 3)


def test_all_panels_share_one_scale_which_a_bar_states() -> None:
    found = made(4, layers=2, heads=2)
    figure = draw_weights(found, "title")
    limits = {axes.images[0].get_clim() for axes in figure.axes if axes.images}
    assert limits == {(0.0, float(found.weights.max()))}
    assert [axes for axes in figure.axes if axes.get_ylabel().startswith("attention weight")]


def test_labels_of_a_long_sequence_are_thinned() -> None:
    figure = draw_weights(made(200, heads=1), "title")
    (panel,) = [axes for axes in figure.axes if axes.images]
    step = int(labels(panel)[1].removeprefix("word"))
    assert labels(panel) == 2 * [f"word{i}" for i in range(0, 200, step)]
    assert len(labels(panel)) < 40
    assert max(figure.get_size_inches()) < 10


def test_contributions_are_bars_as_long_as_their_norms() -> None:
    found = made(3, heads=1, width=4)
    figure = draw_weights(found, "title")
    (bars,) = [axes for axes in figure.axes if axes.get_title().startswith("0 … ")]
    lengths = [float(segment[1, 0]) for segment in bars.collections[0].get_segments()]
    assert found.contribution_norms is not None
    assert lengths == pytest.approx(found.contribution_norms[0, 0].tolist())


@pytest.mark.parametrize("length", [0, 1])
def test_short_sequences_are_drawn(length: int, tmp_path: Path) -> None:
    save_picture(draw_weights(made(length, width=2), "title"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.filterwarnings("error")
def test_any_script_and_sign_is_drawn_without_a_warning(tmp_path: Path) -> None:
    labels = ("日本語", "🎉", "$a_$", "\n", "ש", "\ud800", "%s\\frac{")
    found = AttentionMap(torch.rand(1, 1, 7, 7), labels, labels, (0,), (0,))
    save_picture(draw_weights(found, "$ \ud800"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


def test_pictures_do_not_touch_pyplot() -> None:
    import matplotlib.pyplot as plt

    draw_weights(made(2), "title")
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word", "word"),
        (" the", "␣the"),
        ("New York ", "New York␣"),
        ("  ", "␣␣"),
        ("", ""),
        ("a\nb\t", "a⏎b⇥"),
        ("\x00", "\ufffd"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghi…wxyz"),
    ],
)
def test_a_label_is_made_readable(text: str, expected: str) -> None:
    assert readable(text) == expected


EDGES = torch.tensor([[0, 1, 2, 2], [1, 0, 2, 1]])


def graph(index: torch.Tensor, length: int) -> AttentionMap:
    found = made(length)
    labels = found.row_labels
    return AttentionMap(found.weights, labels, labels, (0,), (0, 1), edge_index=index)


def test_a_graph_shows_its_edges_and_nodes_at_the_same_place_in_every_panel() -> None:
    pytest.importorskip("networkx", reason="needs the extra 'graph'")
    figure = draw_graph(graph(EDGES, 4), "title")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["layer 0 · head 0", "layer 0 · head 1"]
    for axes in panels:
        assert len(axes.patches) == 3  # an arrow per edge; the loop is its node's colour
        assert sorted(text.get_text() for text in axes.texts) == [f"word{i}" for i in range(4)]
    first, second = ([text.xy for text in axes.texts] for axes in panels)
    assert first == second


def test_only_the_strongest_edges_of_a_large_graph_are_drawn() -> None:
    pytest.importorskip("networkx", reason="needs the extra 'graph'")
    index = (torch.ones(30, 30) - torch.eye(30)).nonzero().T  # 870 edges
    figure = draw_graph(graph(index, 30), "title")
    assert {len(axes.patches) for axes in figure.axes if axes.get_title()} == {400}
    assert any("400 strongest of 870 edges" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_graph_without_edges_is_drawn(length: int, tmp_path: Path) -> None:
    pytest.importorskip("networkx", reason="needs the extra 'graph'")
    empty = torch.empty(2, 0, dtype=torch.int64)
    save_picture(draw_graph(graph(empty, length), "title"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


def test_a_map_without_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="edge_index must be given to draw a graph, got None"):
        draw_graph(made(2), "title")
