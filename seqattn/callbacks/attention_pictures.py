"""Pictures of attention maps: small multiples, one panel per layer and head, one colour scale.

Drawn by matplotlib's objects alone: no window, no pyplot, nothing that the user's own figures
would notice.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seqattn.maps import AttentionMap

Box = tuple[float, float, float, float]
"""Left, bottom, width and height in inches."""

_DPI = 100
_COMPRESSION = 1  # of the PNG: a little larger, and several times faster
_POINTS = 7.0  # font size of labels
_PITCH = 0.125  # inches from one label to the next
_SPARSE_PITCH = 0.25  # the same where not every label is written
_LETTER = 0.062  # inches of a letter
_LONGEST_LABEL = 14  # letters
_PANEL = (1.7, 4.2)  # smallest and largest side of a panel, inches
_GAP = 0.14  # between panels
_BARS = 0.6  # width of the contributions beside a panel
_HEADING = 0.26  # above each panel
_TOP = 0.62  # above all panels
_NARROWEST = 4.8  # the page: its title wants room
_SCALE = 0.8  # right of all panels: the colour bar and its numbers
_COLOURS = "Blues"
_BAR_COLOUR = "#d95f02"
_GRID = 8  # lines that part the cells, at most
_MORE_FONTS = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Arial Unicode MS",
)
_SIGNS = {"\n": "⏎", "\t": "⇥"}


@dataclass(frozen=True)
class Page:
    """Where everything lies: a grid of panels, in inches.

    Args:
        rows: layers.
        columns: heads.
        width: of a panel.
        height: of a panel.
        left: room for labels beside the first column.
        bottom: room for labels below the last row.
        beside: room right of each panel.
    """

    rows: int
    columns: int
    width: float
    height: float
    left: float
    bottom: float
    beside: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        width = self.left + self.columns * (self.width + self.beside + _GAP) + _SCALE
        height = self.bottom + self.rows * (self.height + _HEADING) + _TOP
        return max(width, _NARROWEST), height

    def boxes(self) -> Iterator[tuple[int, int, Box]]:
        """Yield row, column and box of each panel."""
        for row in range(self.rows):
            above = self.rows - 1 - row
            y = self.bottom + above * (self.height + _HEADING)
            for column in range(self.columns):
                x = self.left + column * (self.width + self.beside + _GAP)
                yield row, column, (x, y, self.width, self.height)

    def start(self, title: str, subtitle: str) -> Any:
        """Return a new figure with its title."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        width, height = self.size
        figure = Figure(figsize=self.size, dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        for text, points, down in ((title, 11, 0.2), (subtitle, 8, 0.38)):
            place = (0.12 / width, 1 - down / height)
            figure.text(*place, readable(text, int(width * 9)), va="center", **font(points))
        return figure

    def add(self, figure: Any, box: Box) -> Any:
        """Return new axes in a box, with a thin frame and no ticks."""
        width, height = self.size
        x, y, w, h = box
        axes = figure.add_axes((x / width, y / height, w / width, h / height))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.5, color="#888888")
        return axes

    def add_scale(self, figure: Any, most: float) -> Any:
        """Draw the colour bar, from 0 to the largest weight; return its scale."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import PowerNorm

        scale = ScalarMappable(PowerNorm(0.5, 0.0, most), cmap=_COLOURS)
        width, height = self.size
        tall = min(3.0, height - self.bottom - _TOP - _HEADING)
        box = (width - _SCALE + 0.12, height - _TOP - _HEADING - tall, 0.14, tall)
        axes = self.add(figure, box)
        bar = figure.colorbar(scale, cax=axes)
        bar.ax.tick_params(labelsize=_POINTS, width=0.5, length=2)
        bar.set_label("attention weight (square-root scale)", **font(_POINTS + 1))
        return scale


def draw_weights(found: AttentionMap, title: str) -> Any:
    """Return a matplotlib Figure of the weights: a row reads the columns, labels on both axes.

    With contributions, bars beside each panel say how much its head changes each position.

    Args:
        found: what to draw.
        title: stands above it.
    """
    norms = found.contribution_norms
    page = _page_of_weights(found)
    note = "a row reads the columns"
    if norms is not None:
        note += " · bars: length of the head's change to the row"
    figure = page.start(title, note)
    scale = page.add_scale(figure, highest(found.weights))
    for row, column, box in page.boxes():
        axes = page.add(figure, box)
        _head_panel(axes, found, row, column, scale)
        if column == 0:
            _label(axes, found.row_labels, box[3], is_row=True)
        if row == page.rows - 1:
            _label(axes, found.column_labels, box[2], is_row=False)
        if norms is not None:
            beside = page.add(figure, (box[0] + box[2] + 0.03, box[1], _BARS, box[3]))
            _bars(beside, norms[row, column], highest(norms))
    return figure


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure as PNG: the file is either whole or absent; missing glyphs are no matter."""
    part = path.with_name(f"{path.name}.part")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(part, format="png", pil_kwargs={"compress_level": _COMPRESSION})
    os.replace(part, path)


def readable(text: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that can be drawn: outer blanks and controls as signs, a long middle cut."""
    text = "".join(_SIGNS.get(sign, sign if sign.isprintable() else "\ufffd") for sign in text)
    inner = text.strip(" ")
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - before - len(inner)
    shown = "␣" * before + inner + "␣" * after
    if len(shown) <= longest:
        return shown
    tail = longest // 3
    return f"{shown[: longest - tail - 1]}…{shown[-tail:]}"


def heading(found: AttentionMap, row: int, column: int) -> str:
    """Return the title of a panel."""
    return f"layer {found.layers[row]} · head {found.heads[column]}"


def font(points: float) -> dict[str, Any]:
    """Return the properties of a text; no dollar sign in it starts a formula."""
    return {"fontsize": points, "fontfamily": _families(), "parse_math": False}


def highest(values: Tensor) -> float:
    """Return the largest value, 1 where there is none above 0: the upper end of a scale."""
    return (float(values.max()) if values.numel() else 0.0) or 1.0


@functools.cache
def _families() -> list[str]:
    """Return matplotlib's own font, and those of this machine that know more scripts."""
    from matplotlib import font_manager

    known = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in known)]


def _page_of_weights(found: AttentionMap) -> Page:
    layers, heads, rows, columns = found.weights.shape
    low, high = _PANEL
    return Page(
        layers,
        heads,
        width=min(max(columns * _PITCH, low), high),
        height=min(max(rows * _PITCH, low), high),
        left=_room(found.row_labels),
        bottom=_room(found.column_labels),
        beside=0.0 if found.contributions is None else _BARS + 0.03,
    )


def _room(labels: Sequence[str]) -> float:
    """Return how many inches the longest label takes."""
    return 0.25 + _LETTER * max((len(readable(label)) for label in labels), default=0)


def _head_panel(axes: Any, found: AttentionMap, row: int, column: int, scale: Any) -> None:
    axes.set_title(heading(found, row, column), pad=4, **font(_POINTS + 1))
    weights = found.weights[row, column].float().numpy()
    if weights.size:
        axes.imshow(weights, cmap=scale.cmap, norm=scale.norm, aspect="auto")
        _grid(axes, *weights.shape)


def _grid(axes: Any, rows: int, columns: int) -> None:
    """Draw faint lines that lead the eye from a cell to its labels."""
    from matplotlib.collections import LineCollection

    tall, wide = (max(5, 5 * round(count / _GRID / 5)) for count in (rows, columns))
    across = [((-0.5, y - 0.5), (columns - 0.5, y - 0.5)) for y in range(tall, rows, tall)]
    down = [((x - 0.5, -0.5), (x - 0.5, rows - 0.5)) for x in range(wide, columns, wide)]
    axes.add_collection(LineCollection(across + down, colors="#cccccc", linewidths=0.4))


def _label(axes: Any, labels: Sequence[str], inches: float, *, is_row: bool) -> None:
    """Write the label of every row or column, or of every k-th where there is no room for all.

    As plain texts: an axis with its ticks takes three times as long.
    """
    fits = len(labels) * _PITCH <= inches + 0.01
    step = 1 if fits else math.ceil(len(labels) * _SPARSE_PITCH / inches)
    beside = -0.05 / inches  # of the panel's side
    for place in range(0, len(labels), step):
        text = readable(labels[place])
        if is_row:
            across = axes.get_yaxis_transform()
            style = {"ha": "right", "va": "center", "transform": across, **font(_POINTS)}
            axes.text(beside, place, text, **style)
        else:
            across = axes.get_xaxis_transform()
            style = {"ha": "center", "va": "top", "transform": across, **font(_POINTS)}
            axes.text(place, beside, text, rotation=90, **style)


def _bars(axes: Any, norms: Tensor, longest: float) -> None:
    """Draw a bar for each position, as long as the head's change to it."""
    from matplotlib.collections import LineCollection

    bars = [((0.0, place), (length, place)) for place, length in enumerate(norms.tolist())]
    thick = 72 * 0.7 * axes.get_position().height * axes.figure.get_figheight() / max(len(bars), 1)
    axes.add_collection(LineCollection(bars, colors=_BAR_COLOUR, linewidths=thick, capstyle="butt"))
    axes.set(xlim=(0, 1.05 * longest), ylim=(max(len(norms), 1) - 0.5, -0.5), yticks=[])
    axes.set_title(f"0 … {longest:.2g}", pad=4, **font(_POINTS - 0.5))
