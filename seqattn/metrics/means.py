"""Means over a corpus: perplexity, bits per character, errors of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from seqattn.metrics.counts import Counts, require_shape


def regression_metrics() -> MetricCollection:
    """Return ``mae`` and ``rmse``, in the unit of the targets."""
    return MetricCollection({"mae": MeanAbsoluteError(), "rmse": RootMeanSquaredError()})


class _Mean(Counts):
    """Mean of a quantity, named in its states. The sum is float64, whatever the module's type."""

    higher_is_better = False

    def __init__(self, quantity: str) -> None:
        super().__init__()
        self._names = f"{quantity}_sum", f"{quantity}_count"
        self.add_state(self._names[0], torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(self._names[1], torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _sums(self) -> tuple[Tensor, Tensor]:
        return getattr(self, self._names[0]), getattr(self, self._names[1])

    def _add(self, values: Tensor, count: Tensor | int) -> None:
        total, seen = self._sums()
        setattr(self, self._names[0], total + values.detach().to(total.dtype).sum())
        setattr(self, self._names[1], seen + count)

    def _mean(self) -> Tensor:
        return torch.div(*self._sums())

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Self:
        """Move with the module but stay float64, which ``module.to(torch.bfloat16)`` would end."""

        def move(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return fn(tensor)
            moved = fn(tensor.float())
            return moved if moved.device.type == "mps" else moved.double()  # MPS has no float64

        super()._apply(move, exclude_state)
        return self


class Perplexity(_Mean):
    """The exponential of the mean negative log likelihood of a token."""

    def __init__(self) -> None:
        super().__init__("token_nll")

    def update(self, nll_sum: Tensor, tokens: Tensor | int) -> None:
        """Add tokens, and the negative log likelihood of all of them, () in nats."""
        self._add(nll_sum, tokens)

    def compute(self) -> Tensor:
        """Return the perplexity, (), 1 or more; NaN without a token."""
        return self._mean().exp().float()


class BitsPerCharacter(_Mean):
    """The mean negative log likelihood, in bits, of a character, whatever a token is."""

    def __init__(self) -> None:
        super().__init__("character_nll")

    def update(self, nll_sum: Tensor, characters: Tensor | int) -> None:
        """Add characters, and the negative log likelihood of all of them, () in nats."""
        self._add(nll_sum, characters)

    def compute(self) -> Tensor:
        """Return the bits per character, (); NaN without a character."""
        return (self._mean() / math.log(2)).float()


class _Error(_Mean):
    """The p-th root of the mean of (distance of prediction and target)^p; p is `power`."""

    power: ClassVar[int]

    def __init__(self) -> None:
        super().__init__(f"error_to_the_{self.power}")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add predictions and targets, both (N,) or both (N, V).

        Raises:
            ValueError: if their shapes differ.
        """
        require_shape("predictions", predictions, tuple(targets.shape))
        accurate = self._sums()[0].dtype
        distance = (predictions.to(accurate) - targets.to(accurate)).abs()
        self._add(distance.pow(self.power), targets.numel())

    def compute(self) -> Tensor:
        """Return the error, (), in the unit of the targets; NaN without a target."""
        return self._mean().pow(1 / self.power).float()


class MeanAbsoluteError(_Error):
    """Mean distance of prediction and target."""

    power = 1


class RootMeanSquaredError(_Error):
    """Root of the mean squared distance of prediction and target."""

    power = 2
