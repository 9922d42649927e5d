"""What shortens packed spectrogram frames and turns them into vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.packing import Packing


class ConvolutionalSubsampling(nn.Module):
    """Convolutions over time and frequency, then a linear layer (Dong et al. 2018, figure 4).

    Every stage halves the bands. As many stages as the factor needs halve the frames too, with
    kernels four frames wide, so that a new frame lies in the middle of the two that it replaces;
    the others keep them, with kernels three wide. Beyond a sequence's ends they read zeros.

    The sequences lie one after the other in one long picture, with zeros between them that are
    put back after every stage: no kernel sees two sequences.

    Args:
        features: F, number of bands.
        channels: C, of each stage.
        dim: D.
        factor: k: 1, 2, 4 or 8.
    """

    def __init__(self, features: int, channels: int, dim: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        halvings = factor.bit_length() - 1
        self.strides = [2] * halvings + [1] * max(0, 2 - halvings)
        inputs = [1] + [channels] * (len(self.strides) - 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(size, channels, (2 + stride, 3), stride=(stride, 2), padding=1)
            for size, stride in zip(inputs, self.strides, strict=True)
        )
        for _ in self.strides:
            features = (features + 1) // 2
        self.norm = nn.LayerNorm(channels * features)
        self.linear = nn.Linear(channels * features, dim)

    def forward(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        """Return the vectors of the new frames, and their layout.

        Shape:
            x (T, F). returns: (T', D), ⌈L / k⌉ positions of each sequence.
        """
        shorter = shorten(packing, self.factor)
        layout = PictureLayout.of(packing, self.factor)
        picture = layout.spread(x)[None, None]  # (1, 1, k · slots, F)
        rows_per_slot = self.factor
        for number, (stage, stride) in enumerate(zip(self.stages, self.strides, strict=True)):
            if number:
                picture = picture * layout.inside(rows_per_slot)[:, None]
            picture = F.relu(stage(picture), inplace=True)
            rows_per_slot //= stride
        frames = layout.gather(picture[0].transpose(0, 1))  # (T', C, F')
        return self.linear(self.norm(frames.flatten(1))), shorter


class PictureLayout:
    """Where packed frames lie in one long picture of slots, k rows each, and what is between.

    A sequence begins at a slot and has one slot more than it needs. However often the rows are
    halved, down to one per slot, at least as many rows of zeros follow a sequence as kernels
    read there: two before a halving, one after the last.

    Args:
        packing: layout of the T frames.
        shorter: layout of the T' slots that hold them.
        factor: k.
    """

    def __init__(self, packing: Packing, shorter: Packing, factor: int) -> None:
        self.factor = factor
        self.count = max(1, shorter.total + len(shorter))  # a picture of no row cannot be convolved
        self.lengths = packing.offsets.diff()
        device = self.lengths.device
        self.first = shorter.offsets[:-1] + torch.arange(len(shorter), device=device)  # (B,) slots
        self.places = factor * self.first[packing.sequence_ids] + steps(packing)  # (T,)
        self.slots = self.first[shorter.sequence_ids] + steps(shorter)  # (T',)

    @classmethod
    def of(cls, packing: Packing, factor: int) -> PictureLayout:
        """Return the layout of packed frames, made once for a batch."""
        return packing.once(
            ("picture", factor), lambda: cls(packing, shorten(packing, factor), factor)
        )

    def spread(self, x: Tensor) -> Tensor:
        """Return the picture of packed frames. Shape: x (T, …). returns: (k · slots, …)."""
        return x.new_zeros(self.factor * self.count, *x.shape[1:]).index_copy(0, self.places, x)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the slots that hold a position. Shape: rows (slots, …). returns: (T', …)."""
        return rows.index_select(0, self.slots)

    def inside(self, rows_per_slot: int) -> Tensor:
        """Return which rows of a shortened picture belong to a sequence. Shape: (rows,) bool."""
        rows = rows_per_slot * self.count
        ends = self.first * rows_per_slot - (-self.lengths * rows_per_slot // self.factor)
        marks = torch.zeros(rows + 1, dtype=torch.int64, device=self.lengths.device)
        ones = torch.ones_like(ends)
        marks.index_add_(0, self.first * rows_per_slot, ones).index_add_(0, ends, -ones)
        return marks[:-1].cumsum(0) > 0


class SpectrogramPatches(nn.Module):
    """Each run of k whole frames through one linear layer; zeros fill the last run.

    Args:
        features: F, number of bands.
        dim: D.
        factor: k.
    """

    def __init__(self, features: int, dim: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(factor * features, dim)

    def forward(self, x: Tensor, packing: Packing) -> tuple[Tensor, Packing]:
        """Return the vectors of the patches, and their layout.

        Shape:
            x (T, F). returns: (T', D), ⌈L / k⌉ positions of each sequence.
        """
        shorter = shorten(packing, self.factor)
        size = self.factor * shorter.total
        places = self.factor * shorter.offsets[packing.sequence_ids] + steps(packing)  # (T,)
        filled = x.new_zeros(size, x.shape[1]).index_copy(0, places, x)
        return self.linear(filled.view(shorter.total, self.linear.in_features)), shorter


def shorten(packing: Packing, factor: int) -> Packing:
    """Return the layout of the same sequences with ⌈L / factor⌉ positions each.

    It is made on the host, once for a batch, and waits for no device.
    """
    if factor == 1:
        return packing

    def make() -> Packing:
        lengths = [-(-length // factor) for length in packing.lengths]
        return Packing.from_lengths(lengths).to(packing.offsets.device, non_blocking=True)

    return packing.once(("shorten", factor), make)


def centres(packing: Packing, shorter: Packing, factor: int) -> Tensor:
    """Return the old position in the middle of those that each new one stands for.

    Of an even number it is the later of the two in the middle; the last one of a sequence where
    that lies beyond its end. Shape: (T',) int64.
    """
    owner = shorter.sequence_ids
    middle = packing.offsets[owner] + factor * steps(shorter) + factor // 2
    return torch.minimum(middle, packing.offsets[owner + 1] - 1)


def steps(packing: Packing) -> Tensor:
    """Return the index of each position in its sequence. Shape: (T,) int64."""
    places = torch.arange(packing.total, device=packing.offsets.device)
    return places - packing.offsets[packing.sequence_ids]
