"""What a command changes in its process, and puts back when it is done."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seqattn.commands import environment, threads
from seqattn.commands.run_directory import CHECKPOINT_VARIABLE, DIRECTORY_VARIABLE

_VARIABLES = (
    DIRECTORY_VARIABLE,
    CHECKPOINT_VARIABLE,
    "OMP_NUM_THREADS",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)


@contextmanager
def process_settings(*, debug: bool) -> Iterator[None]:
    """Use the cores that the process may use, quietly; leave the process as it was.

    Log levels, warning filters, number of threads and environment variables are put back: a
    program may run the command in its own process.

    Args:
        debug: whether Lightning's messages are shown.
    """
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    levels = {name: logging.getLogger(name).level for name in environment.LOGGERS}
    count = torch.get_num_threads()
    with warnings.catch_warnings():
        if not debug:
            environment.hush()
        if not threads.user_set_threads():
            torch.set_num_threads(threads.usable_cores())
        try:
            yield
        finally:
            torch.set_num_threads(count)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            for name, value in variables.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
