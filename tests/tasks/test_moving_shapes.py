from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest

from tasks.moving_shapes import DIRECTIONS, MovingShapes, Shape, draw_shape, move

SIZE = 8


@pytest.mark.parametrize("shape", get_args(Shape))
@pytest.mark.parametrize("radius", [2, 3])
def test_single_frames_of_all_directions_are_the_same_pictures(shape: Shape, radius: int) -> None:
    # Every start is as probable as any other; so is then every place in every frame.
    picture = draw_shape(shape, radius, SIZE)
    everywhere = {
        np.roll(picture, (row, column), (0, 1)).tobytes()
        for row in range(SIZE)
        for column in range(SIZE)
    }
    assert len(everywhere) == SIZE**2
    starts = [np.array([row, column]) for row in range(SIZE) for column in range(SIZE)]
    for step in DIRECTIONS.values():
        clips = [move(picture, start, 2 * np.array(step), 3) for start in starts]
        for number in range(3):
            seen = Counter(clip[number].tobytes() for clip in clips)
            assert seen.keys() == everywhere
            assert set(seen.values()) == {1}


def test_shape_moves_by_its_step_and_comes_back_at_the_other_side() -> None:
    dot = np.zeros((4, 4))
    dot[0, 0] = 1
    clip = move(dot, np.array([0, 2]), np.array([-1, 1]), 4)
    assert [tuple(np.argwhere(frame)[0]) for frame in clip] == [(0, 2), (3, 3), (2, 0), (1, 1)]


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ("square", ["11100011"] * 3 + ["00000000"] * 3 + ["11100011"] * 2),
        (
            "disc",
            ["11100011", "11000001", "10000000", *["00000000"] * 3, "10000000", "11000001"],
        ),
        (
            "diamond",
            ["11100011", "11000001", "10000000", *["00000000"] * 3, "10000000", "11000001"],
        ),
        ("cross", ["11100011", *["10000000"] * 2, *["00000000"] * 3, *["10000000"] * 2]),
    ],
)
def test_shape_lies_around_the_first_pixel(shape: Shape, rows: list[str]) -> None:
    expected = [[float(pixel) for pixel in row] for row in rows]
    assert draw_shape(shape, 2, SIZE).tolist() == expected


def test_disc_and_diamond_differ_when_large() -> None:
    assert draw_shape("disc", 3, SIZE).sum() > draw_shape("diamond", 3, SIZE).sum()


def test_direction_is_that_of_the_motion() -> None:
    for example in MovingShapes("train", 40, noise=0.0, size=16).read():
        clip = example.source.astype(float)
        assert clip.shape == (8, 16, 16)
        step = DIRECTIONS[example.target]
        matches = [
            speed
            for speed in (1, 2)
            if np.array_equal(np.roll(clip[0], [speed * s for s in step], (0, 1)), clip[1])
        ]
        assert len(matches) == 1
        shift = [7 * matches[0] * s for s in step]
        assert np.array_equal(np.roll(clip[0], shift, (0, 1)), clip[7])


def test_directions_are_equally_frequent() -> None:
    counts = Counter(example.target for example in MovingShapes("test").read())
    assert counts.keys() == DIRECTIONS.keys()
    assert all(90 <= count <= 160 for count in counts.values())  # 125 and three deviations


def test_clip_is_a_function_of_seed_split_and_number() -> None:
    first, fewer = (list(MovingShapes("val", clips).read()) for clips in (5, 3))
    assert [example.key for example in first] == [f"val:{number}" for number in range(5)]
    for one, other in zip(first, fewer, strict=False):
        np.testing.assert_array_equal(one.source, other.source)
    for others in (MovingShapes("test", 5), MovingShapes("val", 5, seed=1)):
        for one, other in zip(first, others.read(), strict=True):
            assert not np.array_equal(one.source, other.source)


def test_single_frame_is_one_of_its_clip() -> None:
    places = set()
    whole = MovingShapes("val", 60).read()
    for clip, single in zip(whole, MovingShapes("val", 60, single_frame=True).read(), strict=True):
        assert single.source.shape == (1, 16, 16)
        assert single.target == clip.target
        (place,) = [
            n for n, frame in enumerate(clip.source) if np.array_equal(frame, single.source[0])
        ]
        places.add(place)
    assert places == set(range(8))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"split": "dev"}, "split must be one of train, val, test, got 'dev'"),
        ({"clips": 0}, "clips must be at least 1, got 0"),
        ({"frames": 1}, "frames must be at least 2, got 1"),
        ({"size": 7}, "size must be at least 8, got 7"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"noise": 1.5}, "noise must lie in 0 … 1, got 1.5"),
        ({"noise": float("nan")}, "noise must lie in 0 … 1, got nan"),
    ],
)
def test_argument_is_refused_when_out_of_range(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        MovingShapes(**{"split": "train", **settings})
