"""Which way does the shape move? Short clips, made up on the spot, in which only motion tells.

A symmetric shape moves over a picture whose left side continues at its right and whose top at its
bottom, by the same step from frame to frame. It starts anywhere with equal probability, so in
every single frame it lies anywhere with equal probability, whichever way it moves: one frame says
nothing about the direction. There is nothing to download.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from seqattn import Example
from seqattn.data import Reader

SplitName = Literal["train", "val", "test"]
Shape = Literal["square", "disc", "diamond", "cross"]
Frames = npt.NDArray[np.float64]

DIRECTIONS: dict[str, tuple[int, int]] = {
    "up": (-1, 0),
    "up right": (-1, 1),
    "right": (0, 1),
    "down right": (1, 1),
    "down": (1, 0),
    "down left": (1, -1),
    "left": (0, -1),
    "up left": (-1, -1),
}
"""The step of each direction along rows and columns."""

_SPLITS: dict[SplitName, int] = {"train": 4_000, "val": 500, "test": 1_000}


class MovingShapes(Reader):
    """Gives noisy clips (frames, size, size) of uint8, each with its direction as label.

    A clip is a function of seed, split and number alone. Direction, shape, radius, starting point,
    speed (1 or 2 pixels a frame) and brightness are drawn.

    Args:
        split: "train", "val" or "test"; their clips have nothing in common.
        clips: how many; 4,000, 500 and 1,000 by default.
        frames: of a clip.
        size: pixels along both sides of a frame.
        noise: standard deviation of the noise of each pixel, the whole range being 1.
        single_frame: give one frame of each clip, drawn, as a clip (1, size, size): the check that
            single frames say nothing.
        seed: of everything drawn.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        split: SplitName,
        clips: int | None = None,
        *,
        frames: int = 8,
        size: int = 16,
        noise: float = 0.1,
        single_frame: bool = False,
        seed: int = 0,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        self.clips = _SPLITS[split] if clips is None else clips
        for name, number, least in (
            ("clips", self.clips, 1),
            ("frames", frames, 2),
            ("size", size, 8),
            ("seed", seed, 0),
        ):
            if number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise must lie in 0 … 1, got {noise}")
        self.split: SplitName = split
        self.frames = frames
        self.size = size
        self.noise = noise
        self.single_frame = single_frame
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the clips."""
        yield from map(self._example, range(self.clips))

    def _example(self, number: int) -> Example:
        random = np.random.default_rng([self.seed, list(_SPLITS).index(self.split), number])
        direction = str(random.choice(list(DIRECTIONS)))
        shape: Shape = random.choice(get_args(Shape))
        picture = draw_shape(shape, int(random.integers(2, 4)), self.size)
        start = random.integers(self.size, size=2)
        step = np.array(DIRECTIONS[direction]) * random.integers(1, 3)
        clip = move(picture, start, step, self.frames) * random.uniform(0.5, 1.0)
        noisy = clip + self.noise * random.standard_normal(clip.shape)
        pixels = np.round(255 * noisy.clip(0.0, 1.0)).astype(np.uint8)
        if self.single_frame:
            pixels = pixels[random.integers(self.frames)][None]
        return Example(pixels, direction, f"{self.split}:{number}")


def draw_shape(shape: Shape, radius: int, size: int) -> Frames:
    """Return a picture with a shape around its first pixel, continued beyond the edges.

    Shape:
        returns (size, size), of zeros and ones.
    """
    line = np.arange(size)
    far = np.minimum(line, size - line)  # the way round may be shorter
    rows, columns = far[:, None], far[None, :]
    inside = {
        "square": np.maximum(rows, columns) <= radius,
        "disc": rows**2 + columns**2 <= radius**2,
        "diamond": rows + columns <= radius,
        "cross": (np.maximum(rows, columns) <= radius) & (np.minimum(rows, columns) == 0),
    }
    return np.where(inside[shape], 1.0, 0.0)


def move(
    picture: Frames, start: npt.NDArray[np.int64], step: npt.NDArray[np.int64], frames: int
) -> Frames:
    """Return the frames of a picture that is shifted to `start`, then by `step` each time.

    Shape:
        picture (size, size); start (2,), step (2,): rows, columns. returns (frames, size, size).
    """
    shifts = [tuple((start + number * step).tolist()) for number in range(frames)]
    return np.stack([np.roll(picture, shift, axis=(0, 1)) for shift in shifts])
