"""Targets of a language model: the symbols of the source itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seqattn.vectorizer import TargetVectorizer, Vectorized


@runtime_checkable
class SymbolVectorizer(Protocol):
    """What a language model asks of a vectorizer: its rows stand for symbols."""

    symbols: list[str]
    symbol_column: int
    begin: bool
    begin_id: int
    end_id: int
    mask_id: int
    reads_masks: bool
    has_symbol_rows: bool

    def row(self, symbol_id: int) -> Tensor:
        """Return the row of one symbol."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of symbols."""

    def symbol_length(self, symbol_id: int) -> int:
        """Return the characters that a symbol stands for."""


class SymbolTargets(TargetVectorizer):
    """Targets from the source itself: the next symbol, or the symbol of each position.

    Args:
        source: the front-end's vectorizer.
        is_causal: whether the target is the next symbol, END at the end.
    """

    needs_raw = False

    def __init__(self, source: SymbolVectorizer, *, is_causal: bool) -> None:
        self.source = source
        self.is_causal = is_causal

    def fit(self, targets: Iterable[Any]) -> None:
        """Do nothing: the symbols are the front-end's."""

    @property
    def is_fitted(self) -> bool:
        """Always."""
        return True

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return one symbol per position (L,)."""
        symbols = source.values[:, self.source.symbol_column]
        if not self.is_causal or not len(symbols):
            return symbols
        return torch.cat([symbols[1:], symbols.new_tensor([self.source.end_id])])

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the symbols of all positions (T,)."""
        return torch.cat(list(rows)) if rows else torch.empty(0, dtype=torch.int64)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take nothing."""
