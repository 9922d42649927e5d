"""The front-end for sequences that are vectors already: measurements, another model's states."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.arrays import Array, Moments, naming_source, read_array, require_finite
from seqattn.frontends.base import FrontEnd
from seqattn.vectorizer import Vectorized, Vectorizer


class FeatureFrontEnd(FrontEnd):
    """Gives each row of an array (L, F) a vector: standardised, then one linear layer.

    A raw source is an array, a tensor, or the path of a ``.npy`` or ``.npz`` file of one array;
    see :class:`seqattn.data.Arrays` for many in one file. A sequence may be empty, (0, F).

    Args:
        noise: in training, standard deviation of the normal noise that is added, in units of each
            column's own deviation.
        time_mask: in training, longest stretch of rows that is set to the training mean, as a
            fraction of L; length and place are drawn.
        dropout: probability of dropout on the vectors.
        embedding_norm: whether the vectors are layer-normalised before dropout.

    Raises:
        ValueError: if an argument breaks a rule above.
    """

    vectorizer: FeatureVectorizer

    def __init__(
        self,
        *,
        noise: float = 0.0,
        time_mask: float = 0.0,
        dropout: float = 0.1,
        embedding_norm: bool = False,
    ) -> None:
        super().__init__()
        self.vectorizer = FeatureVectorizer(noise=noise, time_mask=time_mask)
        self.embedding_norm = embedding_norm
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the linear layer from the F columns of training; see :meth:`FrontEnd.build`."""
        self.projection = nn.Linear(self.vectorizer.columns, dim)
        self.norm = nn.LayerNorm(dim) if self.embedding_norm else nn.Identity()

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T, D), everything else as it was.

        Shape:
            batch.values: (T, F), standardised.
        """
        x = self.projection(batch.values.to(self.projection.weight.dtype))  # (T, D)
        return batch.replace(values=self.dropout(self.norm(x)))


class FeatureVectorizer(Vectorizer):
    """Standardises each column by its mean and deviation over all training positions.

    Args:
        noise: as in :class:`FeatureFrontEnd`.
        time_mask: likewise.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, *, noise: float = 0.0, time_mask: float = 0.0) -> None:
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise must be finite and at least 0, got {noise}")
        if not 0 <= time_mask <= 1:
            raise ValueError(f"time_mask must lie in 0 … 1, got {time_mask}")
        self.noise = noise
        self.time_mask = time_mask
        self.mean: list[float] = []
        self.deviation: list[float] = []

    @property
    def columns(self) -> int:
        """F, from the training sources."""
        return len(self.mean)

    def fit(self, sources: Iterable[Any]) -> None:
        """Take mean and deviation of each column.

        Raises:
            ValueError: if there is no position at all.
            DataError: if a source breaks a rule, or differs from the first in its columns.
        """
        moments, columns = Moments(), 0
        for number, raw in enumerate(sources):
            with naming_source(number):
                rows = _finite_rows(raw, columns)
            columns = rows.shape[1]
            moments.add(rows)
        self.mean, self.deviation = moments.finish()

    @property
    def is_fitted(self) -> bool:
        """Whether mean and deviation are known."""
        return bool(self.mean)

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the standardised rows (L, F), with noise and mask if there is a `draw`.

        Raises:
            TypeError: if the source is no array of real numbers.
            ValueError: if it has not the shape (L, F), F as in training, or is not finite.
        """
        rows = (_finite_rows(raw, self.columns) - np.array(self.mean)) / np.array(self.deviation)
        if draw is not None:
            rows = self._augment(rows, np.random.default_rng(draw))
        return Vectorized(torch.from_numpy(rows).float())

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, F)."""
        return torch.empty(0, self.columns)

    def length(self, raw: Any) -> int:
        """Return L. It raises what vectorizing raises, but does not look at the numbers."""
        return len(_rows(raw, self.columns))

    def state(self) -> dict[str, Any]:
        """Return mean and deviation of each column."""
        return {"mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take mean and deviation."""
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])

    def adopt(self, state: dict[str, Any], sources: Iterable[Any]) -> None:
        """Take another run's mean and deviation, where it had as many columns; else fit."""
        self.fit(sources)
        if len(state["mean"]) == self.columns:
            self.load_state(state)

    def _augment(self, rows: Array, random: np.random.Generator) -> Array:
        rows = rows + self.noise * random.standard_normal(rows.shape)
        width = int(random.integers(int(self.time_mask * len(rows)) + 1))
        start = int(random.integers(len(rows) - width + 1))
        rows[start : start + width] = 0.0
        return rows


def _finite_rows(raw: Any, columns: int) -> Array:
    rows = _rows(raw, columns)
    require_finite(rows, ("position", "column"))
    return rows


def _rows(raw: Any, columns: int) -> Array:
    """Return a source as (L, F); F must be `columns` where that is not 0."""
    rows = read_array(raw)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"an array must have shape (L, F) with a column, got {rows.shape}")
    if columns and rows.shape[1] != columns:
        raise ValueError(f"an array must have F = {columns} columns, got {rows.shape[1]}")
    return rows
