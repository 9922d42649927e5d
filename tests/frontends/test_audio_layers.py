from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn import Packing
from seqattn.frontends.audio_layers import (
    ConvolutionalSubsampling,
    SpectrogramPatches,
    centres,
    shorten,
)
from seqattn.frontends.audio_residual import PackedConvolution, ResidualSubsampling

BANDS, DIM = 10, 6
LENGTHS = [(5,), (1, 1), (9, 1, 16, 7), (2, 0, 3), (8, 8, 8)]


def convolutional(factor: int) -> ConvolutionalSubsampling:
    return ConvolutionalSubsampling(BANDS, channels=3, dim=DIM, factor=factor)


def residual(factor: int) -> ResidualSubsampling:
    """As in evaluation, with averages and a scale that are not those of the start."""
    layers = ResidualSubsampling(BANDS, channels=3, dim=DIM, factor=factor).eval()
    for module in layers.modules():
        if isinstance(module, PackedConvolution):
            assert module.norm.running_mean is not None
            assert module.norm.running_var is not None
            nn.init.uniform_(module.norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.norm.running_var, 0.5, 1.5)
            nn.init.uniform_(module.norm.weight, 0.5, 1.5)
    return layers


def patches(factor: int) -> SpectrogramPatches:
    return SpectrogramPatches(BANDS, DIM, factor)


def one_by_one(layers: ConvolutionalSubsampling, x: Tensor) -> Tensor:
    """One sequence, padded as each stage needs it. Shape: x (L, F). returns: (⌈L / k⌉, D)."""
    picture = x[None, None]
    for stage in layers.stages:
        assert isinstance(stage, nn.Conv2d)
        stride, size = stage.stride[0], picture.shape[2]
        padded = F.pad(picture, (1, 1, 1, 2))  # a frame before, two after
        convolved = F.conv2d(padded, stage.weight, stage.bias, stage.stride)
        picture = F.relu(convolved[:, :, : -(-size // stride)])
    return layers.linear(layers.norm(picture[0].transpose(0, 1).flatten(1)))


def convolve_alone(layer: PackedConvolution, x: Tensor) -> Tensor:
    """One sequence by torch's own layers. Shape: x (1, C, L, F). returns: (1, C', L', F')."""
    stride = layer.factor
    convolution, norm = layer.convolution, layer.norm
    padded = F.pad(x, (1, 1, 1, 2))
    found = F.conv2d(padded, convolution.weight, None, convolution.stride)
    found = found[:, :, : -(-x.shape[2] // stride)]
    return F.relu(F.batch_norm(found, norm.running_mean, norm.running_var, norm.weight, norm.bias))


def residual_one_by_one(layers: ResidualSubsampling, x: Tensor) -> Tensor:
    """The same, as one picture. Shape: x (L, F). returns: (⌈L / k⌉, D)."""
    picture = convolve_alone(layers.first, x[None, None])
    for stage, block in zip(layers.stages, layers.residuals, strict=True):
        assert isinstance(stage, PackedConvolution)
        assert isinstance(block, PackedConvolution)
        picture = convolve_alone(stage, picture)
        picture = picture + convolve_alone(block, picture)
    return layers.linear(picture[0].permute(1, 2, 0).flatten(1))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("make", "apply_alone", "error"),
    [(convolutional, one_by_one, 1e-6), (residual, residual_one_by_one, 1e-5)],
)
def test_convolutions_equal_those_of_each_sequence_alone(
    make: Any,
    apply_alone: Any,
    error: float,
    factor: int,
    lengths: Sequence[int],
    device: torch.device,
) -> None:
    layers, packing = make(factor).to(device), Packing.from_lengths(lengths)
    x = torch.randn(packing.total, BANDS, device=device)
    found, shorter = layers(x, packing.to(device))
    assert list(shorter.lengths) == [-(-length // factor) for length in lengths]
    alone = [apply_alone(layers, part) for part in x.split(list(lengths)) if len(part)]
    torch.testing.assert_close(found, torch.cat(alone), atol=error, rtol=0)


def test_batch_normalisation_of_convolutions_counts_frames_and_nothing_between() -> None:
    layer, lengths = PackedConvolution(1, 4, (1, 1)), [5, 1, 6]
    x = torch.randn(12, BANDS, 1)
    found, _ = layer(x, Packing.from_lengths(lengths))
    rows = [
        F.conv2d(F.pad(part[None, :, :, 0], (1, 1, 1, 1))[None], layer.convolution.weight)[0]
        for part in x.split(lengths)
    ]
    convolved = torch.cat(rows, dim=1).permute(1, 2, 0)  # (T, F, C')
    variance, mean = torch.var_mean(convolved, dim=(0, 1), correction=0)
    expected = F.relu((convolved - mean) / (variance + layer.norm.eps).sqrt())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [convolutional, residual, patches])
def test_batch_mates_change_nothing_and_get_no_gradient(make: type[nn.Module]) -> None:
    layers = make(4)
    lengths = [7, 12, 5]
    x = torch.randn(24, BANDS, requires_grad=True)
    found, _ = layers(x, Packing.from_lengths(lengths))  # 2 + 3 + 2 positions
    other = x.detach().clone()
    other[:7], other[19:] = 99.0, -99.0
    changed, _ = layers(other, Packing.from_lengths(lengths))
    torch.testing.assert_close(changed[2:5], found[2:5], atol=1e-6, rtol=0)
    found[2:5].square().sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum(1) > 0
    assert not reached[:7].any()
    assert not reached[19:].any()
    assert reached[7:19].all()


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_patches_are_whole_frames_through_one_linear_layer(factor: int) -> None:
    layers, lengths = patches(factor), [5, 1, 6]
    x = torch.randn(12, BANDS)
    found, shorter = layers(x, Packing.from_lengths(lengths))
    rows = []
    for part in x.split(lengths):
        filled = F.pad(part, (0, 0, 0, -len(part) % factor))
        rows += [layers.linear(patch.flatten()) for patch in filled.split(factor)]
    assert sum(shorter.lengths) == len(rows)
    torch.testing.assert_close(found, torch.stack(rows), atol=1e-6, rtol=0)


@pytest.mark.parametrize("lengths", [(), (0,), (1,), (3, 0, 5)])
def test_residual_convolutions_train_on_as_few_frames_as_a_process_may_get(
    lengths: tuple[int, ...],
) -> None:
    layers = residual(4).train()
    with torch.autocast("cpu", torch.bfloat16):
        found, shorter = layers(torch.randn(sum(lengths), BANDS), Packing.from_lengths(lengths))
    assert found.shape == (shorter.total, DIM)
    found.float().sum().backward()
    for parameter in layers.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())


@pytest.mark.parametrize("make", [convolutional, residual, patches])
@pytest.mark.parametrize("lengths", [(), (0,)])
def test_no_frame_gives_no_position_and_every_weight_a_gradient(
    make: type[nn.Module], lengths: tuple[int, ...]
) -> None:
    layers = make(4)
    found, shorter = layers(torch.empty(0, BANDS), Packing.from_lengths(lengths))
    assert found.shape == (0, DIM)
    assert shorter.lengths == lengths
    found.sum().backward()
    for parameter in layers.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() == 0


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("kind", [ConvolutionalSubsampling, ResidualSubsampling])
def test_a_position_reads_as_far_before_its_frames_as_after(
    kind: type[ConvolutionalSubsampling | ResidualSubsampling], factor: int
) -> None:
    layers = kind(BANDS, channels=16, dim=DIM, factor=factor).eval()
    x = torch.randn(80, BANDS, requires_grad=True)
    found, _ = layers(x, Packing.from_lengths([80]))
    middle = 40 // factor
    found[middle].square().sum().backward()
    assert x.grad is not None
    reached = (x.grad.abs().sum(1) > 0).nonzero().flatten()
    first, last = middle * factor, (middle + 1) * factor - 1
    assert first - int(reached[0]) == int(reached[-1]) - last > 0


def test_frames_in_the_middle_stand_for_a_position() -> None:
    packing = Packing.from_lengths([5, 3, 1])
    expected = {2: [1, 3, 4, 6, 7, 8], 3: [1, 4, 6, 8], 4: [2, 4, 7, 8], 8: [4, 7, 8]}
    for factor, rows in expected.items():
        assert centres(packing, shorten(packing, factor), factor).tolist() == rows


def test_a_layout_is_shortened_once() -> None:
    packing = Packing.from_lengths([5, 3])
    assert shorten(packing, 1) is packing
    assert shorten(packing, 2) is shorten(packing, 2)
    assert shorten(packing, 2).lengths == (3, 2)
