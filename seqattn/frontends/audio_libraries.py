"""The libraries of the extra `audio`, imported where sound is first used."""

from __future__ import annotations

import importlib
from typing import Any

_EXTRA = "pip install 'seqattn[audio]'"


def import_audio_library(name: str) -> Any:
    """Return torchaudio or soundfile, or a module of theirs.

    Raises:
        ImportError: if it is missing or does not load; names the extra and the remedy.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"sound needs the extra seqattn[audio], but {name} cannot be imported "
            f"({error}): {_EXTRA}"
        ) from error
    except OSError as error:
        raise ImportError(
            f"sound needs the extra seqattn[audio], but {name} is installed and does not load "
            f"({error}): {_remedy(name)}"
        ) from error


def require_audio_libraries() -> None:
    """Check that sound can be read and resampled.

    Raises:
        ImportError: as :func:`import_audio_library`.
    """
    for name in ("soundfile", "torchaudio"):
        import_audio_library(name)


def _remedy(name: str) -> str:
    """Say what mends a library whose binary part does not load."""
    if name.startswith("soundfile"):
        return "the system library libsndfile is missing; install it"
    return (
        "its wheel needs the CUDA build of torch, which a CPU-only torch (a version with +cpu) is "
        f"not; {_EXTRA} 'torch<2.15' --force-reinstall, or take torch and torchaudio from one "
        "package index"
    )
