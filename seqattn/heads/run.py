"""What a head asks the Trainer that runs it."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DistributedSampler

from seqattn.batch import Example


def training_examples(trainer: Trainer, task: str | None = None) -> list[Example]:
    """Return the training examples: of our data module, or of any training DataLoader.

    Args:
        trainer: whose run it is.
        task: which task's of several.

    Raises:
        ValueError: if the run does not fit, its data set does not hold examples, or it is not that
            of several tasks.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        raise ValueError(
            "a head without vocabulary and labels can only be fitted: "
            "load a checkpoint with seqattn.load, or give one as --ckpt_path"
        )
    module = getattr(trainer, "datamodule", None)
    if task is not None:
        if module is None or not hasattr(module, "tasks"):
            raise ValueError(
                f"several heads must be fitted on a MultiData, got {type(module).__name__}"
            )
        module = module.tasks[task]
    if module is not None and hasattr(module, "examples"):
        return list(module.examples("train"))
    dataset = getattr(_train_loader(trainer), "dataset", None)
    if dataset is None:
        raise ValueError("a head without vocabulary must be fitted on one DataLoader, got others")
    is_indexed = hasattr(dataset, "__len__")
    examples = [dataset[i] for i in range(len(dataset))] if is_indexed else list(dataset)
    if not all(isinstance(example, Example) for example in examples):
        raise ValueError(
            "the training data set must hold seqattn.Example objects, "
            f"got {type(examples[0]).__name__}: its vocabulary is fitted on them"
        )
    return examples


def validation_size(trainer: Trainer, task: str | None = None) -> int | None:
    """Return the number of validation examples, of all processes; None where no one knows.

    Args:
        trainer: whose run it is.
        task: which task's of several.
    """
    loaders = trainer.val_dataloaders
    found = loaders if isinstance(loaders, list | tuple) else [loaders]
    datasets = [getattr(loader, "dataset", None) for loader in found]
    if task is not None:
        datasets = [getattr(dataset, "examples", {}).get(task) for dataset in datasets]
    sizes = [len(dataset) for dataset in datasets if isinstance(dataset, Sized)]
    return sum(sizes) if sizes and len(sizes) == len(datasets) else None


def validation_share(trainer: Trainer, task: str | None, wanted: int) -> float:
    """Return the share of the validation examples that so many are; all where no one knows."""
    size = validation_size(trainer, task)
    return 1.0 if size is None else wanted / max(size, 1)


def total_steps(trainer: Trainer) -> int | None:
    """Return the number of optimiser steps of the run, or None where nothing limits it."""
    limits = []
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps)
    batches = _batches_per_epoch(trainer)
    if trainer.max_epochs is not None and trainer.max_epochs >= 0 and batches is not None:
        limits.append(trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    return min(limits, default=None)


def _batches_per_epoch(trainer: Trainer) -> int | None:
    """Return the micro-batches of an epoch on this process, None where no one knows."""
    module = getattr(trainer, "datamodule", None)
    found = getattr(module, "batches_per_epoch", None)
    count = _loader_length(trainer) if found is None else int(found)
    limit = trainer.limit_train_batches
    if isinstance(limit, int):
        return limit if count is None else min(count, limit)
    return count if count is None or limit is None else int(count * limit)


def _loader_length(trainer: Trainer) -> int | None:
    """Return the length of the training loader as Lightning will split it among processes."""
    loader = _train_loader(trainer)
    try:
        count = len(loader)
    except TypeError:  # it streams
        return None
    sampler = getattr(loader, "sampler", None)
    is_whole = not isinstance(sampler, DistributedSampler)
    is_split = is_whole and trainer._accelerator_connector.use_distributed_sampler
    return math.ceil(count / trainer.world_size) if is_split else count


def _train_loader(trainer: Trainer) -> Any:
    """Return the training loader, wherever the user put it.

    Lightning has no public name for a loader that was passed to `fit` before it is first iterated.
    """
    return trainer.fit_loop._data_source.dataloader()
