"""What a head asks the Trainer that runs it."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn

from seqattn.batch import Example


def training_examples(trainer: Trainer) -> list[Example]:
    """Return the training examples: of our data module, or of any training DataLoader.

    Raises:
        ValueError: if the run does not fit, or its data set does not hold examples.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        raise ValueError(
            "a head without vocabulary and labels can only be fitted: "
            "load a checkpoint with seqattn.load, or give one as --ckpt_path"
        )
    module = getattr(trainer, "datamodule", None)
    if module is not None and hasattr(module, "examples"):
        return list(module.examples("train"))
    dataset = _train_loader(trainer).dataset
    examples = [dataset[index] for index in range(len(dataset))]
    if not all(isinstance(example, Example) for example in examples):
        raise ValueError(
            "the training data set must hold seqattn.Example objects, "
            f"got {type(examples[0]).__name__}: its vocabulary is fitted on them"
        )
    return examples


def total_steps(trainer: Trainer) -> int | None:
    """Return the number of optimiser steps of the run, or None where nothing limits it."""
    limits = []
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        per_epoch = math.ceil(_batches_per_epoch(trainer) / trainer.accumulate_grad_batches)
        limits.append(trainer.max_epochs * per_epoch)
    return min(limits, default=None)


def _batches_per_epoch(trainer: Trainer) -> int:
    module = getattr(trainer, "datamodule", None)
    found = getattr(module, "batches_per_epoch", None)
    count = len(_train_loader(trainer)) if found is None else int(found)
    limit = trainer.limit_train_batches
    if isinstance(limit, float):
        return int(count * limit)
    return count if limit is None else min(count, limit)


def _train_loader(trainer: Trainer) -> Any:
    """Return the training loader, wherever the user put it.

    Lightning has no public name for a loader that was passed to `fit` before it is first iterated.
    """
    return trainer.fit_loop._data_source.dataloader()
