"""What a command sets up in its process: import path and quiet output."""

from __future__ import annotations

import logging
import os
import sys
import warnings

LOGGERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")
_NOISE = (
    r".*WeightAveraging callback with a model that overrides the configure_model.*",
    r".*callbacks used to create the checkpoint need to be provided.*",
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*LightningCLI's args parameter is intended.*",
    r".*Trying to infer the `batch_size`.*",
    r".*Found .* module\(s\) in eval mode at the start of training.*",
    r".*It is recommended to use `self\.log\(.*sync_dist=True.*",
    r".*You defined a `validation_step` but have no `val_dataloader`.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
)


def put_working_directory_first() -> None:
    """Let classes of the working directory be imported, unless Python runs in safe-path mode."""
    here = os.getcwd()
    if not sys.flags.safe_path and (not sys.path or sys.path[0] != here):
        sys.path.insert(0, here)


class StandardError(logging.Handler):
    """Prints records on whatever standard error is at that moment, in the first process only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        from lightning.pytorch.utilities import rank_zero_only  # takes seconds; in use by now

        if getattr(rank_zero_only, "rank", 0) == 0:
            print(self.format(record), file=sys.stderr)


def set_defaults() -> None:
    """Set what the user has not: reports are shown, and no tokenizer threads, which may hang.

    Threads that wait for each other sleep, instead of keeping a core from the one they wait for:
    with another process on two cores, training is some 30 times faster. OpenMP reads this once,
    when torch is first imported.

    What seqattn and the tasks report is shown from level INFO on, unless their loggers have a
    level or a handler already.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("seqattn", "tasks"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        if not logger.handlers:
            logger.addHandler(StandardError())


def hush() -> None:
    """Silence Lightning's tips and device lines; errors and other warnings stay."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
