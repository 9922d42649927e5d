"""The data of several tasks that train together: one batch of every task in each micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from seqattn.batch import Example, SequenceBatch
from seqattn.collate import Collator
from seqattn.data.epochs import EpochSampler
from seqattn.data.loader import Drawn, DrawnExamples, make_loader
from seqattn.data.module import SequenceData
from seqattn.data.resumable import ResumableData
from seqattn.data.sampler import Member, TokenBatchSampler

TaskMember = tuple[str, Member]
"""A task, and a member of one of its micro-batches."""


class MultiData(ResumableData):
    """Serves a batch of every task in each micro-batch: a dict of :class:`SequenceBatch` by task.

    Every task keeps its own examples, token budget and order. A training epoch is as long as that
    of the task with the most micro-batches. Each shorter task goes through its own epochs one after
    the other, wherever the joint epoch begins or ends: its examples come equally often, in a new
    order and with new draws each time. All of it is a function of the seed and the joint epoch, so
    that it is shared out among processes and resumed like the data of one task.

    In evaluation every example comes once; a task that is through has empty batches.

    Args:
        tasks: the data of each task, by the name of its head. Without `workers` and `seed`, which
            are this module's.
        workers: processes that make batches; 0 to make them in the training process.
        seed: of order and augmentation; by default that of ``seed_everything``, else 0.

    Raises:
        ValueError: if there is no task, only some have validation data, or one brings `workers` or
            a `seed` of its own.
    """

    def __init__(
        self, tasks: Mapping[str, SequenceData], *, workers: int = 0, seed: int | None = None
    ) -> None:
        super().__init__(workers, seed)
        if not tasks:
            raise ValueError(f"tasks must hold at least one task, got {tasks}")
        self.tasks = dict(tasks)
        for name, data in self.tasks.items():
            _require_own_settings_only(name, data)
            data.task, data.seed = name, seed
        without = [name for name, data in self.tasks.items() if data.val is None]
        if 0 < len(without) < len(self.tasks):
            raise ValueError(f"val must be given for all tasks or for none, got none for {without}")
        self.val = None if without else {name: data.val for name, data in self.tasks.items()}

    def setup(self, stage: str) -> None:
        """Read the splits of a stage, of every task.

        Raises:
            TypeError: if the model has not several heads.
            ValueError: if the model's tasks are others, a task lacks a split of the stage, or the
                stage is `predict`.
            DataError: if a file breaks its format.
        """
        if stage == "predict":
            raise ValueError(
                "predict needs one task: predict with the head that "
                f"seqattn.load(path, task=…) gives, one of {', '.join(self.tasks)}"
            )
        super().setup(stage)
        self._require_tasks_of_model()
        for data in self.tasks.values():
            data.trainer = self.trainer
            data.setup(stage)

    def teardown(self, stage: str) -> None:
        """Give the trainer its own setting back."""
        for data in self.tasks.values():
            data.teardown(stage)
        super().teardown(stage)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches, from where the checkpoint left off.

        Raises:
            DataError: if an example of training or validation is too long.
            ValueError: if the checkpoint was written in the middle of other data.
        """
        if self.val is not None:
            for data in self.tasks.values():
                data.measured("val")
        return super().train_dataloader()

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation batches, longest first; nothing if there is no `val`."""
        return [] if self.val is None else self.make_loader("val", self.make_sampler("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches, longest first."""
        return self.make_loader("test", self.make_sampler("test"))

    def make_sampler(self, split: str) -> JointSampler:
        """Return the sampler of this process for a split."""
        return JointSampler(
            {name: data.share(split, 0, 1) for name, data in self.tasks.items()},
            repeat=split == "train",
            rank=self._attached.global_rank,
            world_size=self._attached.world_size,
        )

    def make_loader(self, split: str, sampler: EpochSampler[Any]) -> DataLoader[Any]:
        """Return the loader of a split."""
        examples = {name: data.measured(split).examples for name, data in self.tasks.items()}
        return make_loader(
            JointExamples(examples),
            sampler,
            JointCollator({name: data.collate for name, data in self.tasks.items()}),
            workers=self.workers,
            pin_memory=self._pins_memory,
        )

    def fingerprint(self) -> dict[str, int | str]:
        """Return all that the list of training micro-batches depends on."""
        return {
            f"{key} of {name}": value
            for name, data in self.tasks.items()
            for key, value in data.fingerprint().items()
        }

    @property
    def global_batch_tokens(self) -> int:
        """Token budget of an optimiser step: of all tasks, processes and micro-batches."""
        return sum(data.global_batch_tokens for data in self.tasks.values())

    def _require_tasks_of_model(self) -> None:
        model = self._attached.lightning_module
        collate = getattr(model, "collate", None)
        if not isinstance(collate, Mapping):
            raise TypeError(f"MultiData needs a MultiTask, got {type(model).__name__}")
        if collate.keys() != self.tasks.keys():
            raise ValueError(
                f"tasks must be those of the model, {sorted(collate)}, got {sorted(self.tasks)}"
            )


class JointSampler(EpochSampler[TaskMember]):
    """Yields lists of (task, member): one micro-batch of every task together.

    Args:
        samplers: one per task, each of one process of one.
        repeat: whether shorter tasks begin again, as in training; else they have no more members.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        ValueError: if `rank` is not below `world_size`.
    """

    def __init__(
        self,
        samplers: Mapping[str, TokenBatchSampler],
        *,
        repeat: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(rank, world_size)
        self.samplers = dict(samplers)
        self.repeat = repeat

    @property
    def total(self) -> int:
        """Micro-batches of an epoch, of all ranks together, without the filling."""
        return max(sampler.total for sampler in self.samplers.values())

    def plan(self, epoch: int) -> Callable[[int], list[TaskMember]]:
        """Return what gives each micro-batch of an epoch by its number."""
        start = epoch * self.total if self.repeat else 0
        tasks = {name: _Cycle(sampler, self.repeat) for name, sampler in self.samplers.items()}

        def members(number: int) -> list[TaskMember]:
            return [
                (name, inner) for name, cycle in tasks.items() for inner in cycle(start + number)
            ]

        return members


class _Cycle:
    """The micro-batches of one task by their number, epoch after epoch or of one epoch only."""

    def __init__(self, sampler: TokenBatchSampler, repeat: bool) -> None:
        self._sampler = sampler
        self._repeat = repeat
        self._epoch = -1
        self._members: Callable[[int], list[Member]]

    def __call__(self, number: int) -> list[Member]:
        epoch, place = divmod(number, self._sampler.total)
        if epoch and not self._repeat:
            return []
        if epoch != self._epoch:
            self._epoch, self._members = epoch, self._sampler.plan(epoch)
        return self._members(place)


class JointExamples(Dataset[tuple[str, Drawn]]):
    """Gives a joint sampler's examples with their tasks and draws.

    Args:
        examples: of each task, in the order that its sampler's indices count.
    """

    def __init__(self, examples: Mapping[str, Sequence[Example]]) -> None:
        self.examples = {name: DrawnExamples(found) for name, found in examples.items()}

    def __getitem__(self, member: TaskMember) -> tuple[str, Drawn]:
        """Return the task of a member, and its example with its draw."""
        name, inner = member
        return name, self.examples[name][inner]

    def __len__(self) -> int:
        """Return the number of examples of all tasks."""
        return sum(len(examples) for examples in self.examples.values())


class JointCollator:
    """Makes a dict of :class:`SequenceBatch` by task; every task has one, be it empty.

    Args:
        collators: one per task.
    """

    def __init__(self, collators: Mapping[str, Collator]) -> None:
        self.collators = dict(collators)

    def __call__(self, items: Sequence[tuple[str, Drawn]]) -> dict[str, SequenceBatch]:
        """Return the packed batch of every task.

        Raises:
            DataError: if an example breaks a rule; names its key.
        """
        return {
            name: collate([drawn for task, drawn in items if task == name])
            for name, collate in self.collators.items()
        }


def _require_own_settings_only(name: str, data: SequenceData) -> None:
    for setting, given, default in (("workers", data.workers, 0), ("seed", data.seed, None)):
        if given != default:
            raise ValueError(
                f"{setting} of task {name!r} must be left out, since MultiData({setting}=…) holds "
                f"for all tasks, got {given}"
            )
