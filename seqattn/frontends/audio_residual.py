"""A residual network over time and frequency that shortens packed spectrogram frames."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.frontends.audio_layers import PictureLayout, shorten
from seqattn.layers.norms import BatchNorm
from seqattn.packing import Packing


class ResidualSubsampling(nn.Module):
    """Residual convolutions over time and frequency, then a linear layer.

    A small network such as Tang & Lin (2018, "Deep residual learning for small-footprint keyword
    spotting") hear words with, every convolution followed by batch normalisation (He et al. 2016).
    The first convolution halves the bands and keeps the frames. As many stages follow as the
    factor needs to halve the frames, at least two. Each halves the bands, has twice the channels
    of the one before, and ends in a residual convolution.

    In training, sequences that share a batch influence each other through the normalisation; in
    evaluation they do not.

    Args:
        features: F, number of bands.
        channels: C, of the first convolution.
        dim: D.
        factor: k: 1, 2, 4 or 8.
    """

    def __init__(self, features: int, channels: int, dim: int, factor: int) -> None:
        super().__init__()
        halvings = factor.bit_length() - 1
        strides = [2] * halvings + [1] * max(0, 2 - halvings)
        self.first = PackedConvolution(1, channels, (1, 2))
        self.stages, self.residuals = nn.ModuleList(), nn.ModuleList()
        for stride in strides:
            self.stages.append(PackedConvolution(channels, 2 * channels, (stride, 2)))
            channels *= 2
            self.residuals.append(PackedConvolution(channels, channels, (1, 1)))
        for _ in range(1 + len(strides)):
            features = (features + 1) // 2
        self.linear = nn.Linear(features * channels, dim)

    def forward(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        """Return the vectors of the new frames, and their layout.

        Shape:
            x (T, F). returns: (T', D), ⌈L / k⌉ positions of each sequence.
        """
        x, packing = self.first(x[:, :, None], packing)
        for stage, residual in zip(self.stages, self.residuals, strict=True):
            x, packing = stage(x, packing)
            x = x + residual(x, packing)[0]
        return self.linear(x.flatten(1)), packing


class PackedConvolution(nn.Module):
    """A convolution over time and frequency, batch normalisation and ReLU, on packed frames.

    The frames lie in a :class:`PictureLayout`, so no kernel sees two sequences, and what lies
    between them enters no mean. Beyond a sequence's ends and the outer bands kernels read zeros.

    Args:
        inputs: C, channels.
        outputs: C'.
        stride: over time, 1 or 2, and over the bands.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.factor = stride[0]
        size = (2 + self.factor, 3)  # a new frame lies in the middle of those it replaces
        self.convolution = nn.Conv2d(inputs, outputs, size, stride=stride, padding=1, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        """Return the new frames, and their layout.

        Shape:
            x (T, F, C). returns: (T', F', C').
        """
        layout = PictureLayout.of(packing, self.factor)
        picture = layout.spread(x).permute(2, 0, 1)[None]  # (1, C, rows, F), channels last
        rows = self.convolution(picture)[0].permute(1, 2, 0)  # (slots, F', C')
        found = layout.gather(rows)
        x = F.relu(self.norm(found.flatten(0, 1)), inplace=True).view_as(found)
        return x, shorten(packing, self.factor)
