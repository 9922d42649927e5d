"""Normalisation over packed positions."""

from __future__ import annotations

from torch import Tensor, nn

from seqattn.layers.slots import NormKind


class BatchNorm(nn.BatchNorm1d):
    """Normalises every feature over all real positions of the batch (Ioffe & Szegedy 2015).

    In training, sequences that share a batch influence each other through it. A batch of fewer
    than two positions, over which nothing can be estimated, is normalised with the running
    averages, as in evaluation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised positions.

        Shape:
            x (T, D). returns: (T, D).
        """
        if not self.training or x.shape[0] > 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight / (self.running_var + self.eps).sqrt()
        return (x - self.running_mean) * scale + self.bias


def make_norm(kind: NormKind, dim: int) -> nn.Module:
    """Return a normalisation: of each position over its features, or of each feature (``batch``).

    Args:
        kind: ``layer`` (Ba et al. 2016), ``rms`` (Zhang & Sennrich 2019) or ``batch``.
        dim: D.
    """
    if kind == "batch":
        return BatchNorm(dim)
    return nn.LayerNorm(dim) if kind == "layer" else nn.RMSNorm(dim)
