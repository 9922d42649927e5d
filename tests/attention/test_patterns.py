import pytest
import torch

from seqattn.attention.patterns import Causal, Full, Window, as_pattern

DISTANCES = torch.tensor([-3, -2, -1, 0, 1, 2])


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        (Full(), [-3, -2, -1, 0, 1, 2]),
        (Causal(), [-3, -2, -1, 0]),
        (Window(2, 1), [-2, -1, 0, 1]),
        (Window(0, 0), [0]),
    ],
)
def test_allows_tells_who_is_seen(pattern, seen):
    assert DISTANCES[pattern.allows(DISTANCES)].tolist() == seen


def test_window_is_causal_when_nothing_after_is_seen():
    assert Window(3, 0).is_causal
    assert not Window(3, 1).is_causal


@pytest.mark.parametrize(("left", "right", "name"), [(-1, 0, "left"), (0, -2, "right")])
def test_window_refuses_a_negative_width(left, right, name):
    with pytest.raises(ValueError, match=f"{name} of a Window must not be negative"):
        Window(left, right)


@pytest.mark.parametrize(
    ("left", "right", "name"), [(1.5, 2, "left"), (True, 2, "left"), (1, 2.0, "right")]
)
def test_window_refuses_a_width_that_is_not_a_whole_number(left, right, name):
    with pytest.raises(TypeError, match=f"{name} of a Window must be a whole number, got "):
        Window(left, right)


def test_as_pattern_finds_a_pattern_by_name():
    assert isinstance(as_pattern("full"), Full)
    assert isinstance(as_pattern("causal"), Causal)
    window = Window(1, 1)
    assert as_pattern(window) is window


def test_as_pattern_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="pattern must be 'full', 'causal' or a Pattern"):
        as_pattern("band")  # type: ignore[arg-type]
