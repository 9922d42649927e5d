"""Weights & Biases: a logger that never stops a run, tables and artifacts.

Nothing here imports wandb before a run is started with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from seqattn.callbacks.quiet import QuietCallback
from seqattn.data.module import SequenceData

_LARGEST_MATRIX = 64
_INIT_SECONDS = 20


class Settings(Protocol):
    """What :func:`start_run` reads; see ``seqattn.commands.loggers.WandbSettings``."""

    @property
    def project(self) -> str | None: ...  # noqa: D102
    @property
    def entity(self) -> str | None: ...  # noqa: D102
    @property
    def group(self) -> str | None: ...  # noqa: D102
    @property
    def tags(self) -> list[str] | None: ...  # noqa: D102
    @property
    def name(self) -> str | None: ...  # noqa: D102


class SafeWandbLogger(WandbLogger):
    """A WandbLogger whose first failure is a warning and whose last: training goes on without.

    Args:
        run: a W&B run.
        directory: the run's directory.
    """

    def __init__(self, run: Any, directory: Path) -> None:
        super().__init__(save_dir=directory, experiment=run)
        self.run = run
        self._failed = False

    @property
    def works(self) -> bool:
        """Whether nothing has failed so far."""
        return not self._failed

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something with W&B; after one failure do nothing any more."""
        if self._failed:
            return
        try:
            action()
        except Exception as error:
            self._failed = True
            lines = str(error).splitlines() or [type(error).__name__]
            warnings.warn(f"W&B failed and is not used any more: {lines[0]}", stacklevel=2)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of one step."""
        row = dict(metrics) if step is None else {**metrics, "trainer/global_step": step}
        self.attempt(lambda: self.run.log(row))

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the run's configuration."""
        values = vars(params) if isinstance(params, Namespace) else params
        self.attempt(lambda: self.run.config.update(values, allow_val_change=True))

    def finalize(self, status: str) -> None:
        """Leave the run open: fit may be followed by more; :meth:`finish` closes it."""

    def finish(self) -> None:
        """Write everything out and close the run, also a failed one: W&B allows one at a time."""
        if not self._failed:
            self.attempt(self.run.finish)
            return
        with contextlib.suppress(Exception):
            self.run.finish()


def start_run(
    settings: Settings, directory: Path, mode: Literal["online", "offline"]
) -> SafeWandbLogger:
    """Start a W&B run that writes below `directory`.

    Args:
        settings: project, entity, group, tags and name.
        directory: the run's.
        mode: ``online`` or ``offline``.
    """
    import wandb  # its import takes a second, and a broken installation is no reason to stop

    options: dict[str, Any] = {"init_timeout": _INIT_SECONDS}
    if "WANDB_CONSOLE" not in os.environ:
        options["console"] = "off"
    if not {"WANDB_SILENT", "WANDB_QUIET"} & set(os.environ):
        options["quiet"] = True
    run = wandb.init(
        project=settings.project or os.environ.get("WANDB_PROJECT", "seqattn"),
        entity=settings.entity,
        group=settings.group,
        tags=settings.tags,
        name=settings.name or f"{directory.parent.name} {directory.name}",
        dir=str(directory),
        mode=mode,
        settings=wandb.Settings(**options),
    )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return SafeWandbLogger(run, directory)


def close_failed_run() -> None:
    """Close the process's W&B run as failed, before it would say so behind the error."""
    wandb: Any = sys.modules.get("wandb")
    with contextlib.suppress(Exception):
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=1)


class WandbTables(QuietCallback):
    """Logs sample predictions and the confusion matrix of each validation to W&B.

    The matrix is counted from the outputs that the validation computes anyway, of heads with at
    most 64 classes that are given with the data. Several labels per item, and symbols that a
    language model predicts of its own text, have none. What fails here never stops the run.

    Args:
        samples: validation examples that are shown with their predictions, the first ones.

    Raises:
        ValueError: if `samples` is negative.
    """

    def __init__(self, samples: int = 16) -> None:
        if samples < 0:
            raise ValueError(f"samples must not be negative, got {samples}")
        self.samples = samples
        self._is_wanted = False
        self._counts: Tensor | None = None
        self._failure: Exception | None = None
        self._hook: RemovableHandle | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the head's outputs."""
        self._forget()
        # Every process counts if the logger is W&B's on rank 0, since the counts are reduced.
        works = any(logger.works for logger in _loggers(trainer))
        self._is_wanted = trainer.strategy.broadcast(works) and not trainer.sanity_checking
        classes = number_of_classes(pl_module)
        if self._is_wanted and 0 < classes <= _LARGEST_MATRIX:
            self._counts = torch.zeros(classes, classes, dtype=torch.int64)
            self._hook = pl_module.register_forward_hook(self._count)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both tables."""
        if not self._is_wanted:
            return
        counts, failure = self._reduced(trainer, pl_module), self._failure
        self._forget()
        for logger in _loggers(trainer):
            logger.attempt(partial(_raise_if, failure))
            if counts is not None and counts.any():
                logger.attempt(partial(_log_matrix, logger, pl_module, counts, trainer))
            logger.attempt(partial(self._log_samples, logger, pl_module, trainer))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Stop listening."""
        self._forget()

    def _count(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        try:
            targets = output.batch.targets
            assert self._counts is not None
            if isinstance(targets, Tensor) and not targets.is_floating_point():
                matrix = confusion(output.logits, targets, output.batch.labelled)
                self._counts = self._counts.to(matrix.device) + matrix
        except Exception as error:
            self._failure = error

    def _reduced(self, trainer: Trainer, pl_module: LightningModule) -> Tensor | None:
        """Return the counts of all processes; None where one of them could not count."""
        if self._counts is None:
            return None
        failed = self._counts.new_tensor([int(self._failure is not None)])
        own = torch.cat([self._counts.flatten(), failed]).to(pl_module.device)
        total = trainer.strategy.reduce(own, reduce_op="sum")
        assert isinstance(total, Tensor)
        return None if total[-1] else total[:-1].view_as(self._counts)

    def _log_samples(
        self, logger: SafeWandbLogger, pl_module: LightningModule, trainer: Trainer
    ) -> None:
        rows = self._sample_rows(trainer, pl_module)
        if rows:
            _log_rows(logger, rows, trainer)

    def _sample_rows(self, trainer: Trainer, pl_module: LightningModule) -> list[list[str]]:
        data = getattr(trainer, "datamodule", None)
        if not self.samples or not isinstance(data, SequenceData):
            return []
        examples = data.examples("val")[: self.samples]
        head: Any = pl_module
        found = head.predict_step(head.collate(examples).to(head.device), 0)
        pairs = zip(examples, found, strict=True)
        return [[e.key, str(e.source), str(e.target), str(prediction)] for e, prediction in pairs]

    def _forget(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._counts = self._failure = None
        self._is_wanted = False


class WandbArtifacts(QuietCallback):
    """Uploads the best and the last checkpoint when training ends.

    Args:
        directory: where the checkpoints lie.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log ``best.ckpt`` and ``last.ckpt`` as versions of one artifact."""
        for logger in _loggers(trainer) if stage == "fit" else []:
            for alias in ("best", "last"):
                path = self.directory / f"{alias}.ckpt"
                if path.is_file():
                    logger.attempt(partial(_log_artifact, logger, path, alias))


def number_of_classes(module: LightningModule) -> int:
    """Return V of a head whose classes are given with the data; 0 of any other module.

    A language model makes its targets from the source: they are symbols, no classes.
    """
    is_given = getattr(getattr(module, "target_vectorizer", None), "needs_raw", False)
    return len(getattr(module, "labels", ())) if is_given else 0


def confusion(logits: Tensor, targets: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Count how often each class (row) was predicted as each (column).

    Shape:
        logits (N, V); targets (N,), negative ones are left out; labelled (N,) bool, or anything
        of another shape, which says nothing about these targets; returns (V, V) int64.
    """
    classes = logits.shape[1]
    kept = targets >= 0
    if labelled is not None and labelled.shape == targets.shape:
        kept = kept & labelled
    cells = targets[kept] * classes + logits.argmax(-1)[kept]
    return torch.bincount(cells, minlength=classes * classes).view(classes, classes)


def _loggers(trainer: Trainer) -> list[SafeWandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, SafeWandbLogger)]


def _raise_if(failure: Exception | None) -> None:
    if failure is not None:
        raise failure


def _log_matrix(
    logger: SafeWandbLogger, module: LightningModule, counts: Any, trainer: Trainer
) -> None:
    import wandb

    labels: list[str] = list(module.labels)  # type: ignore[arg-type]
    table = counts.tolist()
    rows = [[labels[a], labels[p], n] for a, row in enumerate(table) for p, n in enumerate(row)]
    found = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=rows)
    fields = {name: name for name in ("Actual", "Predicted", "nPredictions")}
    plot = wandb.plot_table("wandb/confusion_matrix/v1", found, fields, {"title": "Confusion"})
    logger.run.log({"val/confusion_matrix": plot, "trainer/global_step": trainer.global_step})


def _log_rows(logger: SafeWandbLogger, rows: list[list[str]], trainer: Trainer) -> None:
    import wandb

    table = wandb.Table(columns=["key", "source", "target", "prediction"], data=rows)
    logger.run.log({"val/samples": table, "trainer/global_step": trainer.global_step})


def _log_artifact(logger: SafeWandbLogger, path: Path, alias: str) -> None:
    import wandb

    artifact = wandb.Artifact(f"model-{logger.run.id}", type="model")
    artifact.add_file(str(path), name=path.name)
    logger.run.log_artifact(artifact, aliases=[alias])
