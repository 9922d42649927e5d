"""Sound as a raw source: which file, and which stretch of it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AudioClip:
    """A stretch of a sound file: plain data, read only when it is vectorized.

    Args:
        path: the file, or the zip archive that holds it.
        start: where the stretch begins, in seconds.
        end: where it ends, in seconds; None for the file's end.
        member: name of the file inside the archive; None where `path` is the file.

    Raises:
        ValueError: if the stretch begins before 0 seconds or has no length.
    """

    path: str
    start: float = 0.0
    end: float | None = None
    member: str | None = None

    def __post_init__(self) -> None:
        """Check the stretch."""
        if not 0 <= self.start < math.inf:
            raise ValueError(f"start must be at least 0 seconds, got {self.start}")
        if self.end is not None and not self.start < self.end < math.inf:
            raise ValueError(f"end must lie after start = {self.start} seconds, got {self.end}")

    @property
    def name(self) -> str:
        """The file's name, for keys and messages."""
        return self.path if self.member is None else f"{self.path}:{self.member}"
