import pytest
import torch

from seqattn.layers.norms import make_norm

X = torch.tensor([[1.0, 3.0], [2.0, 8.0], [6.0, 1.0]])


def test_layer_norm_is_over_the_features_of_each_position():
    out = make_norm("layer", 2)(X)
    torch.testing.assert_close(
        out, torch.tensor([[-1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]]), atol=1e-4, rtol=0
    )


def test_rms_norm_divides_by_the_root_mean_square_of_each_position():
    out = make_norm("rms", 2)(X)
    wanted = [[1 / 5**0.5, 3 / 5**0.5], [2 / 34**0.5, 8 / 34**0.5], [6 / 18.5**0.5, 1 / 18.5**0.5]]
    torch.testing.assert_close(out, torch.tensor(wanted), atol=1e-4, rtol=0)


def test_batch_norm_is_over_the_positions_of_each_feature():
    out = make_norm("batch", 2)(X)
    first = torch.tensor([-2.0, -1.0, 3.0]) / (14 / 3) ** 0.5  # mean 3, variance 14 / 3
    second = torch.tensor([-1.0, 4.0, -3.0]) / (26 / 3) ** 0.5  # mean 4, variance 26 / 3
    torch.testing.assert_close(out, torch.stack([first, second], 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_batch_norm_uses_running_averages_when_there_is_nothing_to_average(count):
    norm = make_norm("batch", 2)
    norm(X)

    out = norm(X[:count])

    torch.testing.assert_close(out, norm.eval()(X[:count]))
    out.sum().backward()
    assert norm.weight.grad is not None
