"""A long sound in overlapping pieces, so that its prediction takes no more memory than theirs."""

from __future__ import annotations

from typing import Any

from seqattn.sound import AudioClip
from seqattn.vectorizer import Piece


def cut_sound(
    raw: Any, duration: float, *, chunk: float, overlap: float, grid: float
) -> list[Piece] | None:
    """Return the overlapping pieces of a sound; None where one holds it all.

    Nothing is read: pieces of files are stretches of them, those of a waveform share its memory.

    Args:
        raw: a path, an :class:`AudioClip` or a waveform (samples,) with its rate.
        duration: of the sound, in seconds.
        chunk: longest piece, in seconds.
        overlap: what a piece has in common with the next, in seconds, at least.
        grid: pieces begin at multiples of it, in seconds: with what a position covers after
            subsampling, the positions of a piece are those of the whole.

    Raises:
        ValueError: if `chunk` is not longer than `overlap` and one step of the grid.
    """
    if not 0 <= overlap < overlap + grid <= chunk:
        raise ValueError(
            f"chunk must be longer than overlap = {overlap} and grid = {grid} seconds together, "
            f"got {chunk}"
        )
    if duration <= chunk:
        return None
    steps = int((chunk - overlap) / grid + 1e-6)  # 2 / 0.1 may be a little less than 20
    pieces: list[Piece] = []
    start = end = 0.0
    while end < duration:
        start = len(pieces) * steps * grid
        end = min(start + chunk, duration)
        pieces.append(Piece(_stretch(raw, start, end), start, end))
    return pieces


def _stretch(raw: Any, start: float, end: float) -> Any:
    """Return a part of a sound, in seconds of it."""
    if isinstance(raw, str):
        return AudioClip(raw, start, end)
    if isinstance(raw, AudioClip):
        return AudioClip(raw.path, raw.start + start, raw.start + end, raw.member)
    waveform, rate = raw
    return waveform[round(start * rate) : round(end * rate)], rate
