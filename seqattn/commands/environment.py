"""What a command sets up in its process: import path and quiet output."""

from __future__ import annotations

import logging
import os
import sys
import warnings

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


def set_defaults() -> None:
    """Set what the user has not: no tokenizer threads, which hang in forked workers."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def hush() -> None:
    """Silence Lightning's tips and device lines; errors and other warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
