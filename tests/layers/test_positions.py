import math

import pytest
import torch

from seqattn.layers.positions import LearnedPositions, SinusoidalPositions, longest_position
from seqattn.packing import Packing


def test_sinusoidal_positions_add_the_published_waves():
    x = torch.zeros(2, 4, dtype=torch.float64)

    added = SinusoidalPositions(4)(x, torch.tensor([0, 7]), 8)

    wanted = [math.sin(7), math.cos(7), math.sin(7 / 100), math.cos(7 / 100)]
    assert added[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    torch.testing.assert_close(added[1], torch.tensor(wanted, dtype=torch.float64))


def test_sinusoidal_positions_refuse_an_odd_width():
    with pytest.raises(ValueError, match="dim must be even with sinusoidal positions, got 5"):
        SinusoidalPositions(5)


def test_learned_positions_add_the_row_of_the_table():
    layer = LearnedPositions(3, 5)
    x = torch.randn(2, 3)

    added = layer(x, torch.tensor([4, 0]), 5)

    torch.testing.assert_close(added, x + layer.table.weight[[4, 0]])


def test_learned_positions_refuse_a_sequence_longer_than_the_table():
    with pytest.raises(ValueError, match=r"max_length=5\), got 6 positions"):
        LearnedPositions(3, 5)(torch.zeros(6, 3), torch.arange(6), 6)


def test_longest_position_is_the_highest_given_one():
    packing = Packing.from_lengths([2, 1])
    assert longest_position(packing) == 2
    assert longest_position(packing.with_positions(torch.tensor([0, 9, 3]))) == 10
    assert longest_position(Packing.from_lengths([])) == 0
