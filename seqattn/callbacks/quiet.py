"""The base of callbacks that have nothing to do with single batches."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback


class QuietCallback(Callback):
    """A callback of runs and epochs, whose hooks of steps Lightning skips.

    For a hook that does nothing Lightning still opens its profiler and asks for the callback's
    name, about 10 µs a step for each callback. One that is not callable it leaves out. A subclass
    defines those that it needs after all.
    """

    on_train_batch_start: Any = None
    on_train_batch_end: Any = None
    on_before_zero_grad: Any = None
    on_before_backward: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
