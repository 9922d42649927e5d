"""Attention drawn on the graph itself: an arrow per edge, a ring of colour for each node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqattn.callbacks.attention_pictures import Page, font, heading, highest, readable
from seqattn.maps import AttentionMap

_PANEL = (3.0, 6.0)  # smallest and largest side of a panel, inches
_PER_NODE = 0.7  # inches of a panel's side for the square root of the nodes
_MARGIN = 0.14
_NODE = 15.0  # points across
_POINTS = 7.0
_MOST_EDGES = 400
_BOW = "arc3,rad=0.12"  # so that the arrows there and back lie side by side


def draw_graph(found: AttentionMap, title: str) -> Any:
    """Return a matplotlib Figure of the weights along the edges, from what is read to who reads.

    Colour and width of an arrow tell its weight; the colour of a node what it reads of itself. The
    nodes lie alike in every panel. Of more than 400 edges each panel shows its 400 strongest.

    Args:
        found: what to draw; it has an `edge_index`.
        title: stands above it.

    Raises:
        ValueError: if there is no `edge_index`.
    """
    if found.edge_index is None:
        raise ValueError("edge_index must be given to draw a graph, got None")
    nodes = len(found.row_labels)
    side = min(max(_PER_NODE * nodes**0.5, _PANEL[0]), _PANEL[1])
    layers, heads = found.weights.shape[:2]
    page = Page(layers, heads, width=side, height=side, left=_MARGIN, bottom=_MARGIN)
    edges = _edges_between(found.edge_index)  # (2, E)
    note = "arrow: from what is read to who reads · node's colour: itself"
    if edges.shape[1] > _MOST_EDGES:
        note = f"the {_MOST_EDGES} strongest of {edges.shape[1]} edges · {note}"
    figure = page.start(title, note)
    scale = page.add_scale(figure, highest(found.weights))
    places = _place_nodes(nodes, edges)
    for row, column, box in page.boxes():
        axes = page.add(figure, box)
        axes.set_title(heading(found, row, column), pad=4, **font(_POINTS + 1))
        weights = found.weights[row, column].float()
        _draw_edges(axes, weights, edges, places, scale)
        _draw_nodes(axes, weights.diagonal(), found.row_labels, places, scale)
    return figure


def _edges_between(edge_index: Tensor) -> Tensor:
    """Return the edges between two nodes; a loop is drawn as its node's colour."""
    return edge_index[:, edge_index[0] != edge_index[1]]


def _place_nodes(nodes: int, edges: Tensor) -> Tensor:
    """Return a place for each node, the same for the same graph. Shape: (nodes, 2)."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edges.T.tolist())
    found = networkx.spring_layout(graph, k=2 * max(nodes, 1) ** -0.5, iterations=100, seed=0)
    return torch.tensor([list(map(float, found[node])) for node in range(nodes)]).reshape(-1, 2)


def _draw_edges(axes: Any, weights: Tensor, edges: Tensor, places: Tensor, scale: Any) -> None:
    """Draw the strongest edges, the weaker ones below."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import FancyArrowPatch

    axes.add_collection(LineCollection(places[edges.T].tolist(), colors="#e0e0e0", linewidths=0.5))
    source, target = edges
    along = weights[target, source]
    for number in along.argsort(stable=True)[-_MOST_EDGES:].tolist():
        weight = float(along[number])
        ends = [tuple(places[node].tolist()) for node in (source[number], target[number])]
        share = weight / scale.norm.vmax
        arrow = FancyArrowPatch(
            *ends,
            arrowstyle="-|>",
            connectionstyle=_BOW,
            mutation_scale=5 + 4 * share,
            shrinkA=_NODE / 2,
            shrinkB=_NODE / 2,
            linewidth=0.4 + 2.2 * share,
            color=scale.to_rgba(weight),
        )
        axes.add_patch(arrow)


def _draw_nodes(
    axes: Any, own: Tensor, labels: tuple[str, ...], places: Tensor, scale: Any
) -> None:
    """Draw the nodes and their labels, and leave room around them."""
    x, y = places.T.tolist() if len(places) else ([], [])
    colours = scale.to_rgba(own.numpy())
    axes.scatter(x, y, s=_NODE**2, c=colours, edgecolors="#555555", linewidths=0.6, zorder=3)
    for place, label in zip(zip(x, y, strict=True), labels, strict=True):
        axes.annotate(
            readable(label),
            place,
            ha="center",
            va="center",
            zorder=4,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.75, "lw": 0},
            **font(_POINTS),
        )
    axes.margins(0.12)
