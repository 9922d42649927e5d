"""Where training stands in its data, and how Lightning's counters are put back there."""

from __future__ import annotations

import logging
from typing import Any

from lightning.pytorch import Trainer

from seqattn.data.epochs import EpochSampler

log = logging.getLogger(__name__)

Position = tuple[int, int]
"""``(epoch, micro-batches of it that each process has done)``."""


def training_position(trainer: Trainer) -> Position:
    """Return how far training is, in whole optimiser steps.

    An incomplete window of accumulated gradients is not done: a checkpoint does not hold the
    gradients, and its weights are those from before the window. Of Lightning's counters,
    `processed` is right whenever checkpoints are written; `completed` lags behind in
    `on_train_batch_end`, and `ready` runs ahead when a step fails.
    """
    loop: Any = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress
    epoch, done = epochs.processed, batches.current.processed
    if epochs.started == epoch:
        if done == 0 or batches.is_last_batch:
            return epoch, 0
        epoch -= 1  # which `max_steps`, say, had cut short
    if done < trainer.num_training_batches:
        done -= done % trainer.accumulate_grad_batches
    return epoch, done


def resume_training(trainer: Trainer, sampler: EpochSampler[Any], position: Position) -> None:
    """Make the sampler and Lightning's counters, already restored, go on at a position.

    The counters stay as they are where they say the same. They are put right where Lightning
    2.6 loses count: after a checkpoint of the last micro-batch of an epoch, of an epoch's end
    under `max_steps`, of a failed step, or from within a window of accumulated gradients.
    """
    epoch, done = position
    per_epoch = _epoch_length(trainer, len(sampler))
    if done >= per_epoch and _is_epoch_open(trainer, epoch):
        sampler.resume(epoch, len(sampler))
        return
    if done >= per_epoch:
        epoch, done = epoch + 1, 0
    sampler.resume(epoch, done)
    if done == 0:
        _begin_epoch(trainer, epoch, epoch * per_epoch)
    elif not _is_right_at(trainer, epoch, done):
        _enter_epoch(trainer, epoch, done, epoch * per_epoch + done)


def convert_position(position: Position, world_size: int, sampler: EpochSampler[Any]) -> Position:
    """Return the position of a run of `world_size` processes as the sampler's processes count.

    Raises:
        ValueError: if the micro-batches that are done do not come out even.
    """
    epoch, done = position[0], position[1] * world_size
    if world_size == sampler.world_size:
        return position
    if done >= sampler.total:
        return epoch, len(sampler)
    if done % sampler.world_size:
        raise ValueError(
            f"the number of processes must divide the {done} micro-batches that are done in "
            f"epoch {epoch}, got {sampler.world_size} (the checkpoint's run had {world_size})"
        )
    log.info(
        "the checkpoint's run had %d processes, this one has %d: "
        "the micro-batches stay the same, but how many an optimiser step takes may not",
        world_size,
        sampler.world_size,
    )
    return epoch, done // sampler.world_size


def next_epoch(position: Position, batches_per_epoch: int | None, changes: str) -> Position:
    """Return where training goes on after a whole epoch of other data; log the changes.

    Raises:
        ValueError: if the position is in the middle of the epoch.
    """
    epoch, done = position
    if done not in (0, batches_per_epoch):
        raise ValueError(
            "training data must be those of the checkpoint to go on in the middle of them, "
            f"got {changes}"
        )
    log.info("the next epoch's training data are not those of the checkpoint: %s", changes)
    return (epoch + 1 if done else epoch), 0


def _epoch_length(trainer: Trainer, batches: int) -> int:
    """Return the micro-batches of an epoch under ``Trainer(limit_train_batches)``."""
    limit = trainer.limit_train_batches
    if isinstance(limit, float):
        return int(batches * limit)
    return batches if limit is None else min(batches, limit)


def _is_epoch_open(trainer: Trainer, epoch: int) -> bool:
    """Whether Lightning still has to validate or to end the epoch after its last micro-batch."""
    loop: Any = trainer.fit_loop
    batches = loop.epoch_loop.batch_progress.current
    is_open: bool = loop.epoch_progress.current.processed == epoch
    return is_open and batches.completed == batches.processed


def _is_right_at(trainer: Trainer, epoch: int, done: int) -> bool:
    """Whether Lightning goes on in an open epoch, at this place and after a whole step."""
    loop: Any = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
    is_open: bool = epochs.started > epochs.processed == epoch
    is_here: bool = batches.ready == batches.processed == done
    return is_open and is_here


def _begin_epoch(trainer: Trainer, epoch: int, total: int) -> None:
    """Set the counters as before an epoch of which nothing has started."""
    loop: Any = trainer.fit_loop
    if loop.epoch_progress.current.processed < epoch:
        loop.epoch_loop._batches_that_stepped += 1  # the loggers' step, counted after the hook
    _set(loop.epoch_progress, started=epoch, processed=epoch, completed=epoch)
    _set(loop.epoch_loop.batch_progress, started=total, processed=total, completed=total)
    loop.epoch_loop.batch_progress.reset_on_run()
    loop.restarting = False
    loop.epoch_loop.restarting = False  # which the line before does not reach under `max_steps`


def _enter_epoch(trainer: Trainer, epoch: int, done: int, total: int) -> None:
    """Set the counters as in the `on_train_batch_end` of a micro-batch amid an epoch."""
    loop: Any = trainer.fit_loop
    loop.epoch_loop._batches_that_stepped = loop.epoch_loop.global_step - 1
    _set(loop.epoch_progress, started=epoch + 1, processed=epoch, completed=epoch)
    batches = loop.epoch_loop.batch_progress
    _set(batches, started=total, processed=total, completed=total - 1)
    _set_tracker(batches.current, started=done, processed=done, completed=done - 1)
    batches.is_last_batch = False
    loop.restarting = True


def _set(progress: Any, *, started: int, processed: int, completed: int) -> None:
    for tracker in (progress.total, progress.current):
        _set_tracker(tracker, started=started, processed=processed, completed=completed)


def _set_tracker(tracker: Any, *, started: int, processed: int, completed: int) -> None:
    tracker.ready = tracker.started = started
    tracker.processed, tracker.completed = processed, completed
