"""Labels as segments of time: to one label per frame, and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from seqattn.vectorizer import Piece

BACKGROUND = "none"
"""The label of frames that lie in no segment; it is left out where segments come back."""

Segment = tuple[float, float, str]
"""Start and end, in seconds of the source, and a label."""

_DIGITS = 6  # of seconds that are given: microseconds, so that 3 * 0.1 is 0.3


def is_segmented(target: Any) -> bool:
    """Whether a target lists segments, and not one label per position."""
    return isinstance(target, list | tuple) and any(isinstance(x, list | tuple) for x in target)


def read_segments(target: Sequence[Any]) -> list[Segment]:
    """Return a target's segments in the order of time.

    Raises:
        ValueError: if one is not start, end and label, has no length, or overlaps another.
    """
    segments = sorted(map(_read_segment, target))
    for (_, end, label), following in pairwise(segments):
        if following[0] < end:
            raise ValueError(
                f"segments must not overlap, got {following[2]!r} from {following[0]} seconds "
                f"where {label!r} ends at {end}"
            )
    return segments


def require_inside(segments: Sequence[Segment], times: Tensor) -> None:
    """Check that segments, in the order of time, begin before a sound ends.

    Shape:
        times (L,), the centres of its frames in seconds.

    Raises:
        ValueError: if the last one begins after the last frame.
    """
    seconds = float(times[0] + times[-1]) if len(times) else 0.0  # half a frame at both ends
    if segments and segments[-1][0] > seconds:
        start, _, label = segments[-1]
        raise ValueError(
            f"a segment must start within the sound's {seconds:.3f} seconds, "
            f"got {label!r} from {start} seconds"
        )


def label_frames(segments: Sequence[Segment], times: Tensor) -> list[str]:
    """Return for each frame the label of the segment that holds its centre.

    A segment holds its start and not its end. Frames in no segment get :data:`BACKGROUND`.

    Shape:
        times (L,), in seconds.
    """
    if not segments:
        return [BACKGROUND] * len(times)
    starts, ends = (
        torch.tensor(column, dtype=torch.float64)
        for column in ([start for start, _, _ in segments], [end for _, end, _ in segments])
    )
    times = times.double()
    numbers = torch.searchsorted(starts, times, right=True) - 1  # (L,), the last that has begun
    is_inside = (numbers >= 0) & (times < ends[numbers.clamp(min=0)])
    return [
        segments[number][2] if inside else BACKGROUND
        for number, inside in zip(numbers.tolist(), is_inside.tolist(), strict=True)
    ]


def count_milliseconds(segments: Sequence[Segment]) -> Counter[str]:
    """Return how long each label lasts, :data:`BACKGROUND` between and before them included.

    What follows the last segment is not known to a target, and does not count.
    """
    counted = Counter({BACKGROUND: 1})  # a label like any other, even where nothing is left for it
    before = 0.0
    for start, end, label in segments:
        counted[label] += max(1, round(1000 * (end - start)))
        counted[BACKGROUND] += round(1000 * (start - before))
        before = end
    return counted


def join_frames(labels: Sequence[str], seconds: float) -> list[list[Any]]:
    """Return the runs of equal labels as [start, end, label]; :data:`BACKGROUND` is left out.

    Args:
        labels: of consecutive frames.
        seconds: what each frame covers; the first begins at 0.
    """
    segments: list[list[Any]] = []
    start = 0
    for label, run in groupby(labels):
        end = start + sum(1 for _ in run)
        if label != BACKGROUND:
            segments.append([_seconds(start * seconds), _seconds(end * seconds), label])
        start = end
    return segments


def join_segments(
    pieces: Sequence[Piece], predictions: Sequence[list[list[Any]]]
) -> list[list[Any]]:
    """Return the segments of the whole; those of two pieces meet in the middle of the overlap.

    Args:
        pieces: in the order of time, each overlapping the next.
        predictions: the segments of each, in seconds of the piece.
    """
    middles = [_seconds((one.end + other.start) / 2) for one, other in pairwise(pieces)]
    bounds = pairwise([-math.inf, *middles, math.inf])
    joined: list[list[Any]] = []
    for piece, segments, (low, high) in zip(pieces, predictions, bounds, strict=True):
        for start, end, label in segments:
            start = max(_seconds(piece.start + start), low)
            end = min(_seconds(piece.start + end), high)
            if start >= end:
                continue
            if joined and start == low == joined[-1][1] and label == joined[-1][2]:
                joined[-1][1] = end
            else:
                joined.append([start, end, label])
    return joined


def _read_segment(raw: Any) -> Segment:
    if not isinstance(raw, list | tuple) or len(raw) != 3:
        raise ValueError(f"a segment must be start, end and label, got {raw!r:.60}")
    try:
        start, end = float(raw[0]), float(raw[1])
    except (TypeError, ValueError):
        raise ValueError(f"a segment must start and end at a number, got {raw!r:.60}") from None
    if not 0 <= start < end < math.inf:
        raise ValueError(
            f"a segment must start at 0 seconds or later and end after that, got {raw!r:.60}"
        )
    return start, end, str(raw[2])


def _seconds(number: float) -> float:
    return round(number, _DIGITS)
