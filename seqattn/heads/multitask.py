"""Several heads on one encoder, trained together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqattn.batch import SequenceBatch
from seqattn.checkpoint import SavedHead
from seqattn.collate import Collator
from seqattn.heads.base import Monitor, TaskHead
from seqattn.heads.joint_totals import JointTotals
from seqattn.heads.output import Loss
from seqattn.heads.trained_module import Stage, TrainedModule
from seqattn.layers.encoder import Encoder
from seqattn.optim import Schedule
from seqattn.recorded import Spec

# What the whole run has once; a head's own would be ignored.
_OF_THE_RUN = (
    "learning_rate",
    "schedule",
    "warmup_steps",
    "weight_decay",
    "clip_norm",
    "init_from",
)


class HeadMaker(Protocol):
    """Makes a head of the shared encoder: a head's class with all its other arguments."""

    def __call__(self, *, encoder: Encoder) -> TaskHead:
        """Return the head."""


class MultiTask(TrainedModule):
    """Trains several heads on one encoder, with a batch of every task in each micro-batch.

    The loss of an optimiser step is the sum over the tasks of weight times the task's mean loss
    over all its labelled items in the step, whatever their number. Metrics have the task's name in
    front: ``digits/val/accuracy``. Besides there are ``val/loss``, the weighted sum, and, where a
    higher value of every head's monitor is better, their mean ``val/mean_score``.

    ``joint.tasks["digits"]`` is a head like any other, and ``seqattn.load(path, task="digits")``
    gives it alone. Train it with :class:`~seqattn.data.multi.MultiData`.

    Args:
        encoder: the shared encoder.
        heads: the heads by task, all on this very encoder; or, as in YAML, where a head's `encoder`
            is left out, functions that make them of it, such as ``partial(TokenLabeling,
            frontend)``. What a run has once is left at its default in the heads: `learning_rate`,
            `schedule`, `warmup_steps`, `weight_decay`, `clip_norm` and `init_from`.
        weights: of each task's loss; 1 for those left out.
        monitor: the task whose monitor chooses the best checkpoint. By default all: the mean score,
            or the loss where there is none.
        learning_rate: as in :class:`TaskHead`, and all that is not listed here.
        init_from: checkpoint from which every head takes all that matches; of a joint one the head
            of the same task, if there is one.

    Raises:
        TypeError: if `encoder`, a head or a weight is none.
        ValueError: if there is no head, a task's name cannot be one, a head has another encoder or
            an argument that the run has, two share a front-end, `weights` or `monitor` names no
            task, or a number is out of its range.
    """

    makes: ClassVar[frozenset[str]] = frozenset({"heads"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, TaskHead | HeadMaker],
        *,
        weights: dict[str, float] | None = None,
        monitor: str | None = None,
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        self.weights = _complete_weights(weights or {}, list(heads))
        super().__init__(
            learning_rate=learning_rate,
            schedule=schedule,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
        )
        if not isinstance(encoder, Encoder):
            raise TypeError(f"encoder must be an Encoder, got {type(encoder).__name__}")
        if monitor is not None and monitor not in heads:
            raise ValueError(f"monitor must be a task, one of {_listed(heads)}, got {monitor!r}")
        self.encoder = encoder
        self.heads = nn.ModuleDict(_make_heads(encoder, heads))
        self.record("heads", {name: _spec_without_run(head) for name, head in self.tasks.items()})
        self.monitored_task = monitor
        self.init_from = init_from
        self._unfinished: tuple[Tensor, list[Tensor]] | None = None

    # --- what it knows ----------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, TaskHead]:
        """The heads by task."""
        return cast(dict[str, TaskHead], dict(self.heads.items()))

    @property
    def collate(self) -> dict[str, Collator]:
        """The functions that make batches of each task's examples."""
        return {name: head.collate for name, head in self.tasks.items()}

    @property
    def monitor(self) -> Monitor:
        """The chosen task's monitor; else the mean score, or the loss where there is none."""
        if self.monitored_task is not None:
            name, mode = self.tasks[self.monitored_task].monitor
            return f"{self.monitored_task}/{name}", mode
        return ("val/mean_score", "max") if self._has_mean_score else ("val/loss", "min")

    @property
    def _has_mean_score(self) -> bool:
        return all(head.monitor[1] == "max" for head in self.tasks.values())

    # --- life cycle -------------------------------------------------------------------------

    @property
    def is_built(self) -> bool:
        """Whether every head is."""
        return all(head.is_built for head in self.tasks.values())

    def configure_model(self) -> None:
        """Let every head fit its vectorizers and build, as a head alone does."""
        saved = None
        for name, head in self.tasks.items():
            head.trainer = self.trainer
            if head.is_built:
                continue
            if saved is None and self.init_from is not None:
                saved = SavedHead.read(self.init_from)
            has_own = saved is not None and name in saved.tasks
            head.prepare(saved.of_task(name) if saved is not None and has_own else saved)

    def vectorizer_states(self) -> dict[str, Any]:
        """Return the fitted states of every head's vectorizers, as plain data."""
        return {"tasks": {name: head.vectorizer_states() for name, head in self.tasks.items()}}

    def restore_vectorizers(self, states: Mapping[str, Any]) -> Self:
        """Build every head to a checkpoint's vocabulary and labels, and return this module.

        Raises:
            RuntimeError: if a head is built already.
            ValueError: if the state of a vectorizer is missing or damaged.
        """
        for name, head in self.tasks.items():
            if name not in states.get("tasks", {}):
                raise ValueError(f"the states of task {name!r} must be given, got none")
            head.restore_vectorizers(states["tasks"][name])
        self.init_from = None
        return self

    # --- steps ------------------------------------------------------------------------------

    def make_totals(self) -> JointTotals:
        """Return the bookkeeping of optimiser steps, by task."""
        return JointTotals(self.weights)

    def step(self, batch: Mapping[str, SequenceBatch], stage: Stage) -> dict[str, Loss]:
        """Return the loss of each task's batch; update its metrics. Logs nothing."""
        return {name: head.step(batch[name], stage) for name, head in self.tasks.items()}

    def training_step(self, batch: Mapping[str, SequenceBatch], batch_idx: int) -> Tensor:
        """Return the sum of the tasks' losses, each divided by its count if the step ends."""
        totals = self._joint_totals
        tokens = sum(part.packing.total for part in batch.values())
        sums = totals.add_tasks(self.step(batch, "train"), tokens)
        joined = torch.stack(sums)  # (K,)
        if self._step_goes_on:
            self._unfinished = (joined, sums)
            loss = joined.sum()
        else:
            loss = (joined * totals.finish_tasks(self.trainer)).sum()
        return loss * self.trainer.accumulate_grad_batches

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients; those of an unfinished step for each task apart."""
        if self._unfinished is None:
            super().backward(loss, *args, **kwargs)
            return
        joined, sums = self._unfinished
        self._unfinished = None
        (scales,) = torch.autograd.grad(loss, joined)  # what accumulation and precision multiply
        for (name, head), own, scale in zip(self.tasks.items(), sums, scales, strict=True):
            torch.autograd.backward(own, scale)
            self._joint_totals.keep_gradients(name, head)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Do nothing: the gradient is that of the means already."""

    def stage_values(self, stage: Stage) -> dict[str, Tensor]:
        """Return the metrics of each task, the weighted loss and the mean score."""
        found = {name: head.stage_values(stage) for name, head in self.tasks.items()}
        losses = [self.weights[name] * found[name][f"{stage}/loss"] for name in found]
        values = {f"{stage}/loss": torch.stack(losses).sum()}
        if self._has_mean_score:
            names = {
                n: head.monitor[0].replace("val/", f"{stage}/") for n, head in self.tasks.items()
            }
            scores = [found[task][name].float() for task, name in names.items()]
            values[f"{stage}/mean_score"] = torch.stack(scores).mean()
        for task, metrics in found.items():
            values |= {f"{task}/{name}": value for name, value in metrics.items()}
        return values

    def predict(self, raw: Sequence[Any], *, batch_tokens: int | None = None) -> list[Any]:
        """Refuse: a head alone predicts.

        Raises:
            ValueError: always.
        """
        raise self._not_alone()

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """Refuse, as :meth:`predict` does.

        Raises:
            ValueError: always.
        """
        raise self._not_alone()

    def _not_alone(self) -> ValueError:
        return ValueError(
            "a joint model predicts with one head at a time: take tasks[task], or what "
            f"seqattn.load(path, task=…) gives, with task one of {_listed(self.heads)}"
        )

    @property
    def _joint_totals(self) -> JointTotals:
        assert isinstance(self._totals, JointTotals)
        return self._totals

    @property
    def _step_goes_on(self) -> bool:
        """Whether this micro-batch is followed by another one of the same optimiser step."""
        return self.trainer.fit_loop.epoch_loop._should_accumulate()


def _make_heads(encoder: Encoder, heads: Mapping[str, TaskHead | HeadMaker]) -> dict[str, TaskHead]:
    if not heads:
        raise ValueError(f"heads must hold at least one head, got {dict(heads)}")
    made: dict[str, TaskHead] = {}
    for name, given in heads.items():
        _require_name(name)
        head = given if isinstance(given, nn.Module) else given(encoder=encoder)
        if not isinstance(head, TaskHead):
            raise TypeError(f"head {name!r} must be a TaskHead, got {type(head).__name__}")
        if head.encoder is not encoder:
            raise ValueError(
                f"head {name!r} must have the shared encoder itself, got one of its own: make it "
                "with that which MultiTask is given, or leave it out in a config"
            )
        for other, earlier in made.items():
            if earlier.frontend is head.frontend:
                raise ValueError(f"heads must not share a front-end, {other!r} and {name!r} do")
        _require_run_defaults(name, head)
        head.task = name
        made[name] = head
    return made


def _require_name(name: str) -> None:
    if not name or set("/.") & set(name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            "a task's name must not be empty, hold '/' or '.', or be an attribute of "
            f"torch.nn.ModuleDict, got {name!r}"
        )


def _require_run_defaults(name: str, head: TaskHead) -> None:
    given, defaults = head.spec["init_args"], inspect.signature(TaskHead.__init__).parameters
    own = inspect.signature(type(head).__init__).parameters
    for argument in _OF_THE_RUN:
        default = own.get(argument, defaults[argument]).default
        if given.get(argument, default) != default:
            raise ValueError(
                f"{argument} of head {name!r} must be left out, since MultiTask({argument}=…) "
                f"holds for all heads, got {given[argument]!r}"
            )


def _spec_without_run(head: TaskHead) -> Spec:
    """Return a head's spec without what the joint model gives it."""
    left_out = {"encoder", *_OF_THE_RUN}
    spec = head.spec
    arguments = {name: value for name, value in spec["init_args"].items() if name not in left_out}
    return {**spec, "init_args": arguments}


def _complete_weights(weights: Mapping[str, float], tasks: list[str]) -> dict[str, float]:
    for name, weight in weights.items():
        if name not in tasks:
            raise ValueError(f"weights must be of tasks, {_listed(tasks)}, got one of {name!r}")
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise TypeError(f"weights must be numbers, got {weight!r} for {name!r}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weights must be finite and not negative, got {weight} for {name!r}")
    complete = {name: float(weights.get(name, 1.0)) for name in tasks}
    if complete and not any(complete.values()):
        raise ValueError(f"weights must be positive for at least one task, got {complete}")
    return complete


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
