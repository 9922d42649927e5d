import pytest
import torch

from seqattn.attention.byte_mask import byte_threshold, draw_kept, drop, kept_scale


@pytest.mark.parametrize(("p", "threshold"), [(0.1, 26), (0.5, 128), (0.001, None), (1.0, None)])
def test_threshold_is_the_nearest_byte_or_none_at_the_ends(p, threshold):
    assert byte_threshold(p) == threshold


def test_bytes_are_kept_at_the_rate_of_the_threshold():
    torch.manual_seed(0)

    kept = draw_kept(torch.empty(1000, 1000), 64)

    assert set(kept.unique().tolist()) == {0, 1}
    assert kept.double().mean().item() == pytest.approx(0.75, abs=2e-3)


def test_what_is_kept_is_scaled_and_the_rest_is_zero():
    kept = torch.tensor([1, 0], dtype=torch.uint8)

    assert drop(torch.tensor([3.0, 3.0]), kept, 64).tolist() == [4.0, 0.0]
    assert kept_scale(128) == 2.0
