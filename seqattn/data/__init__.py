"""Readers, the token-budget sampler and the data module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqattn.data.readers.base import Reader as Reader
    from seqattn.data.readers.conll import Conll as Conll
    from seqattn.data.readers.conllu import Conllu as Conllu
    from seqattn.data.readers.lines import LabelledLines as LabelledLines
    from seqattn.data.readers.lines import Lines as Lines
    from seqattn.data.readers.parallel import ParallelFiles as ParallelFiles
    from seqattn.data.readers.split import Limit as Limit
    from seqattn.data.readers.split import Split as Split
    from seqattn.data.readers.table import Table as Table

_HOMES = {
    "Conll": "seqattn.data.readers.conll",
    "Conllu": "seqattn.data.readers.conllu",
    "LabelledLines": "seqattn.data.readers.lines",
    "Limit": "seqattn.data.readers.split",
    "Lines": "seqattn.data.readers.lines",
    "ParallelFiles": "seqattn.data.readers.parallel",
    "Reader": "seqattn.data.readers.base",
    "Split": "seqattn.data.readers.split",
    "Table": "seqattn.data.readers.table",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqattn.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *_HOMES})
