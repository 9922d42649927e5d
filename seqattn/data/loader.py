"""The loader of a data module of ours, and what it fetches examples from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from seqattn.batch import Example
from seqattn.data.epochs import EpochSampler
from seqattn.data.sampler import Member

Drawn = tuple[Example, int | None]
"""An example with the draw of its augmentation."""


class DrawnExamples(Dataset[Drawn]):
    """Gives a sampler's examples with their draws.

    Args:
        examples: in the order that the sampler's indices count.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __getitem__(self, member: Member) -> Drawn:
        """Return the example of a member, and its draw."""
        index, draw = member
        return self.examples[index], draw

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples)


class ResumableLoader(DataLoader[Any]):
    """A loader that Lightning knows to be resumable by these methods; the module has the state."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the empty state."""


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler[Any],
    collate: Callable[[Sequence[Any]], Any],
    *,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Any]:
    """Return the loader of a sampler's micro-batches.

    Args:
        dataset: gives an item for each member of a micro-batch.
        sampler: gives the micro-batches.
        collate: makes a batch of items.
        workers: processes that do so; 0 for the training process.
        pin_memory: whether batches are to be copied to a GPU.
    """
    if workers:  # tokenizers warn, or hang, in forked processes
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return ResumableLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
    )
