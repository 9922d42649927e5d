"""Lightning callbacks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqattn.callbacks.attention_maps import AttentionMaps as AttentionMaps
    from seqattn.callbacks.exponential_average import ExponentialAverage as ExponentialAverage

_HOMES = {
    "AttentionMaps": "seqattn.callbacks.attention_maps",
    "ExponentialAverage": "seqattn.callbacks.exponential_average",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqattn.callbacks' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *_HOMES})
