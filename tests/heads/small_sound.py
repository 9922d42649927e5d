"""A small front-end whose positions have times, for tests of segments and of long sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from seqattn import (
    Encoder,
    FrontEnd,
    SequenceBatch,
    SequenceClassification,
    TokenLabeling,
    Window,
)
from seqattn.frontends.audio_pieces import cut_sound
from seqattn.vectorizer import Piece, Vectorized, Vectorizer
from tests.heads.small_heads import build_on

RATE = 10  # samples per second, each a frame


class SampleVectorizer(Vectorizer):
    """Samples as frames: a source is a list of floats and :data:`RATE`."""

    def __init__(self) -> None:
        self.chunk = 6.0
        self._is_fitted = False

    def fit(self, sources: Iterable[Any]) -> None:
        self._is_fitted = True

    @property
    def is_fitted(self) -> bool:
        return self._is_fitted

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        samples = torch.tensor(raw[0], dtype=torch.float32)
        return Vectorized(samples[:, None], times=(torch.arange(len(samples)) + 0.5) / RATE)

    def empty(self) -> Tensor:
        return torch.empty(0, 1)

    def length(self, raw: Any) -> int:
        return len(raw[0])

    def pieces(self, raw: Any) -> list[Piece] | None:
        if raw[1] != RATE:
            raise ValueError(f"the rate must be {RATE}, got {raw[1]}")
        return cut_sound(raw, len(raw[0]) / RATE, chunk=self.chunk, overlap=2.0, grid=0.1)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        self._is_fitted = True


class SampleFrontEnd(FrontEnd):
    """One linear layer over each sample."""

    output_seconds = 1 / RATE

    def __init__(self) -> None:
        super().__init__()
        self.vectorizer = SampleVectorizer()

    def build(self, dim: int) -> None:
        self.projection = nn.Linear(1, dim)

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        return batch.replace(values=self.projection(batch.values))


def near_sighted() -> Encoder:
    """An encoder whose every position sees five to each side."""
    pattern = Window(5, 5)
    return Encoder(16, 1, 2, mixer="window", pattern=pattern, position="none", dropout=0.0)


def labeler(examples: Any, **arguments: Any) -> Any:
    """A per-frame head, built on examples."""
    return build_on(TokenLabeling(SampleFrontEnd(), near_sighted(), **arguments), examples)


def classifier(examples: Any, **arguments: Any) -> Any:
    """A head for whole sounds, built on examples."""
    head = SequenceClassification(SampleFrontEnd(), near_sighted(), **arguments)
    return build_on(head, examples)
