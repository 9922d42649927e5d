import math

import torch

from seqattn.attention.rotary import rotary_angles, rotate


def test_rotate_turns_each_pair_by_position_times_frequency():
    x = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]], dtype=torch.float64)  # pairs (1, 0) and (0, 2)

    turned = rotate(x, rotary_angles(torch.tensor([3]), 4, x.dtype))

    slow = 3 * 10_000.0**-0.5
    wanted = [math.cos(3), -2 * math.sin(slow), math.sin(3), 2 * math.cos(slow)]
    torch.testing.assert_close(turned.flatten(), torch.tensor(wanted, dtype=torch.float64))


def test_scores_depend_on_the_difference_of_positions_only():
    query, key = torch.randn(2, 1, 1, 8, dtype=torch.float64).unbind()

    def score(first: int, second: int) -> torch.Tensor:
        turned_query = rotate(query, rotary_angles(torch.tensor([first]), 8, query.dtype))
        turned_key = rotate(key, rotary_angles(torch.tensor([second]), 8, query.dtype))
        return (turned_query * turned_key).sum()

    torch.testing.assert_close(score(5, 2), score(105, 102))


def test_rotate_does_nothing_at_position_zero():
    x = torch.randn(3, 2, 4)

    angles = rotary_angles(torch.zeros(3, dtype=torch.int64), 4, x.dtype)

    assert torch.equal(rotate(x, angles), x)


def test_rotate_passes_gradcheck():
    angles = rotary_angles(torch.arange(3), 4, torch.float64)
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x: rotate(x, angles), (x,))
