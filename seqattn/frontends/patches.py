"""The front-end for images as patches, and for short videos as tubes of patches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.arrays import Array, Moments, naming_source, read_array, require_finite
from seqattn.frontends.base import FrontEnd
from seqattn.vectorizer import Vectorized, Vectorizer

_FEW = 4
"""Where the last axis is longer than this and another one is not, channels are not last."""


class PatchFrontEnd(FrontEnd):
    """Cuts an image into patches, row by row, and gives each a vector (Dosovitskiy et al. 2021).

    A raw source is an array, a tensor, or the path of a ``.npy`` or ``.npz`` file of one array:
    an image (H, W) or (H, W, C), or, with a patch of three sizes, a video (frames, H, W) or
    (frames, H, W, C), whose tubes come frame by frame. Channels are last, in a tensor too. Pixels
    are floats, or uint8, which become 0 … 1; each channel is standardised by the training pixels.
    A side that a patch does not divide is extended by its last pixels.

    A vector is one linear layer of the pixels plus a learned vector for the row, one for the column
    and, of a video, one for the frames. There are as many of each as the largest training source
    has; a larger one is refused.

    Args:
        patch: pixels along both sides of a patch; or [height, width]; or, for videos, [frames,
            height, width].
        shift: in training, most pixels by which the picture is moved up or down and left or right,
            its edge pixels repeated.
        dropout: probability of dropout on the vectors.
        embedding_norm: whether the vectors are layer-normalised before dropout.

    Raises:
        ValueError: if an argument breaks a rule above.
    """

    vectorizer: PatchVectorizer

    def __init__(
        self,
        patch: int | list[int] = 4,
        *,
        shift: int = 0,
        dropout: float = 0.1,
        embedding_norm: bool = False,
    ) -> None:
        super().__init__()
        self.vectorizer = PatchVectorizer(patch, shift=shift)
        self.embedding_norm = embedding_norm
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the layers for the channels and sizes of training; see :meth:`FrontEnd.build`."""
        self.projection = nn.Linear(self.vectorizer.pixels, dim)
        self.places = nn.ModuleList(nn.Embedding(size, dim) for size in self.vectorizer.grid)
        for table in self.places:
            nn.init.normal_(table.weight, std=dim**-0.5)  # type: ignore[arg-type]
        self.norm = nn.LayerNorm(dim) if self.embedding_norm else nn.Identity()

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T, D), everything else as it was.

        Shape:
            batch.values: (T, P + axes), the P numbers of a patch and its place on each axis.
        """
        count = self.vectorizer.pixels
        pixels, places = batch.values[:, :count], batch.values[:, count:]
        x = self.projection(pixels.to(self.projection.weight.dtype))  # (T, D)
        for table, place in zip(self.places, places.long().T, strict=True):
            x = x + table(place)
        return batch.replace(values=self.dropout(self.norm(x)))

    def position_labels(self, raw: Any) -> list[str]:
        """Return what each patch is called: its place on each axis, ``2,0``."""
        places = self.vectorizer(raw).values[:, self.vectorizer.pixels :].int().tolist()
        return [",".join(map(str, place)) for place in places]


class PatchVectorizer(Vectorizer):
    """Standardised patches, each with its place.

    Args:
        patch: as in :class:`PatchFrontEnd`.
        shift: likewise.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, patch: int | Sequence[int] = 4, *, shift: int = 0) -> None:
        sizes = tuple(patch) if isinstance(patch, Sequence) else (patch, patch)
        if len(sizes) not in (2, 3) or not all(_is_whole(size, 1) for size in sizes):
            raise ValueError(
                f"patch must be one, two or three whole sizes of at least 1, got {patch!r}"
            )
        if not _is_whole(shift, 0):
            raise ValueError(f"shift must be a whole number of pixels, at least 0, got {shift!r}")
        self.patch = sizes
        self.shift = shift
        self.grid: list[int] = []
        self.mean: list[float] = []
        self.deviation: list[float] = []

    @property
    def pixels(self) -> int:
        """P, the numbers in a patch: its pixels times their channels."""
        return prod(self.patch) * len(self.mean)

    def fit(self, sources: Iterable[Any]) -> None:
        """Take the largest grid of patches, and mean and deviation of each channel.

        Raises:
            ValueError: if there is no source.
            DataError: if a source breaks a rule, or differs from the first in its channels.
        """
        moments, grid, channels = Moments(), np.zeros(len(self.patch), dtype=int), 0
        for number, raw in enumerate(sources):
            with naming_source(number):
                picture = self._picture(raw, channels)
            channels = picture.shape[-1]
            grid = np.maximum(grid, _grid_of(picture, self.patch))
            moments.add(picture.reshape(-1, channels))
        self.mean, self.deviation = moments.finish()
        self.grid = grid.tolist()

    @property
    def is_fitted(self) -> bool:
        """Whether grid and channels are known."""
        return bool(self.grid)

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return a row per patch (L, P + axes), of the shifted picture if there is a `draw`.

        Raises:
            TypeError: if the source is no array of uint8 or floats.
            ValueError: if it has not the axes of an image or video, the channels of training, at
                most its patches, or is not finite.
        """
        picture = self._picture(raw, len(self.mean))
        grid = self._grid(picture)
        if draw is not None and self.shift:
            picture = self._shift(picture, np.random.default_rng(draw))
        patches = self._cut((picture - np.array(self.mean)) / np.array(self.deviation))
        places = np.indices(grid).reshape(len(grid), -1).T  # (L, axes)
        return Vectorized(torch.from_numpy(np.hstack([patches, places])).float())

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, P + axes)."""
        return torch.empty(0, self.pixels + len(self.patch))

    def length(self, raw: Any) -> int:
        """Return L. It raises what vectorizing raises, but does not look at the numbers."""
        return prod(self._grid(self._axes(raw, len(self.mean))))

    def state(self) -> dict[str, Any]:
        """Return grid, and mean and deviation of each channel."""
        return {"grid": self.grid, "mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave."""
        self.grid = list(state["grid"])
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])

    def adopt(self, state: dict[str, Any], sources: Iterable[Any]) -> None:
        """Take another run's state, where it had the same grid and channels; else fit."""
        self.fit(sources)
        if state["grid"] == self.grid and len(state["mean"]) == len(self.mean):
            self.load_state(state)

    def _axes(self, raw: Any, channels: int) -> Array:
        """Return a source as (H, W, C) or (frames, H, W, C); 0 channels: any number."""
        array, axes = read_array(raw), len(self.patch)
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise TypeError(f"pixels must be uint8 or floats, got dtype {array.dtype}")
        if array.ndim not in (axes, axes + 1) or 0 in array.shape:
            names = "(frames, H, W)" if axes == 3 else "(H, W)"
            raise ValueError(
                f"an array must have shape {names}, channels last or none, for patches of "
                f"{list(self.patch)}, and a pixel, got {array.shape}"
            )
        array = array[..., None] if array.ndim == axes else array
        if array.shape[-1] > _FEW >= min(array.shape[:-1]):
            raise ValueError(
                f"an array must have its channels last, got {array.shape}, which looks like "
                "channels first: permute it"
            )
        if channels and array.shape[-1] != channels:
            raise ValueError(f"an array must have {channels} channels, got {array.shape[-1]}")
        return array

    def _picture(self, raw: Any, channels: int) -> Array:
        """Return a source as floats; uint8 as 0 … 1."""
        array = self._axes(raw, channels)
        require_finite(array, ("frame", "row", "column", "channel")[-array.ndim :])
        return array / 255 if array.dtype == np.uint8 else array

    def _grid(self, picture: Array) -> list[int]:
        """Return the number of patches along each axis, at most that of training."""
        grid = _grid_of(picture, self.patch)
        if any(own > most for own, most in zip(grid, self.grid, strict=True)):
            raise ValueError(
                f"an array must have at most {self.grid} patches of {list(self.patch)}, as in "
                f"training, got {grid}"
            )
        return grid

    def _cut(self, picture: Array) -> Array:
        """Return the numbers of each patch (L, P), the last pixels repeated where they lack."""
        grid, axes = _grid_of(picture, self.patch), len(self.patch)
        sides = [n * side for n, side in zip(grid, self.patch, strict=True)]
        missing = [(0, side - size) for side, size in zip(sides, picture.shape, strict=False)]
        whole = np.pad(picture, [*missing, (0, 0)], mode="edge")
        pairs = [size for pair in zip(grid, self.patch, strict=True) for size in pair]
        split = whole.reshape(*pairs, -1)  # (rows, height, columns, width, C)
        order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes]
        return split.transpose(order).reshape(prod(grid), -1)

    def _shift(self, picture: Array, random: np.random.Generator) -> Array:
        height, width = picture.shape[-3:-1]
        margins = [(0, 0)] * (picture.ndim - 3) + [(self.shift, self.shift)] * 2 + [(0, 0)]
        top, left = random.integers(2 * self.shift + 1, size=2)
        wide = np.pad(picture, margins, mode="edge")
        return wide[..., top : top + height, left : left + width, :]


def _is_whole(number: object, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


def _grid_of(picture: Array, patch: Sequence[int]) -> list[int]:
    """Return the number of patches along each axis, the last one begun if not filled."""
    return [-(-size // side) for size, side in zip(picture.shape, patch, strict=False)]
