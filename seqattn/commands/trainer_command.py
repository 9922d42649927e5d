"""Runs one of the Trainer's commands, and turns a mistake of the user into one sentence."""

from __future__ import annotations

import dis
import os
import sys
import types
from collections.abc import Sequence

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from seqattn.callbacks.wandb import close_failed_run
from seqattn.commands import environment, threads
from seqattn.commands.mistakes import UserMistake
from seqattn.commands.options import take_values
from seqattn.commands.run_directory import CHECKPOINT_VARIABLE, DIRECTORY_VARIABLE
from seqattn.commands.training import SequenceCLI
from seqattn.commands.trust import import_policy
from seqattn.errors import DataError

_RAISE = dis.opmap["RAISE_VARARGS"]
_OURS = ("seqattn", "tasks")
_OWN_VARIABLES = (DIRECTORY_VARIABLE, CHECKPOINT_VARIABLE, "OMP_NUM_THREADS")


def run(arguments: Sequence[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` and return the exit code.

    Options that are the command's own, not a config's: ``--trust NAME`` (repeatable) lets a
    config name classes of that package; ``--debug`` shows Lightning's messages and tracebacks.
    """
    debug = "--debug" in arguments or os.environ.get("SEQATTN_DEBUG", "") not in ("", "0")
    if not debug:
        environment.hush()
    if not threads.user_set_threads():
        torch.set_num_threads(threads.usable_cores())
    variables = {name: os.environ.get(name) for name in _OWN_VARIABLES}
    try:
        words, trust = take_values([word for word in arguments if word != "--debug"], "--trust")
        with import_policy(trust):
            SequenceCLI(words, trust)
    except SystemExit as stop:
        return _exit_code(stop)
    except Exception as error:
        close_failed_run()
        sentence = None if debug else user_mistake(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    finally:
        _restore(variables)
    return 0


def user_mistake(error: BaseException) -> str | None:
    """Return the message of the user's mistake that an error, or one behind it, stands for.

    The parser wraps what a part's constructor raises; the cause says it better.
    """
    found: BaseException | None = error
    while found is not None:
        if is_user_mistake(found):
            return str(found)
        found = found.__cause__
    return None


def is_user_mistake(error: BaseException) -> bool:
    """Return whether a message says it all, so that a traceback would only hide it.

    That is so for our own checks: errors that a `raise` statement of seqattn or of the tasks
    threw, and files that cannot be opened. Anything else is a fault of a program.
    """
    if isinstance(error, UserMistake | DataError | MisconfigurationException):
        return True
    if isinstance(error, OSError) and error.filename is not None:
        return True
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    kinds = (ValueError, TypeError, OSError, ImportError, ArithmeticError)
    return isinstance(error, kinds) and last is not None and _is_our_check(last)


def _is_our_check(place: types.TracebackType) -> bool:
    package = str(place.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _OURS and place.tb_frame.f_code.co_code[place.tb_lasti] == _RAISE


def _exit_code(stop: SystemExit) -> int:
    """Return the code; 130 for the user's Ctrl-C and 143 for SIGTERM, which Lightning caught."""
    if isinstance(stop, SIGTERMException):
        return 143
    if isinstance(stop.__context__, KeyboardInterrupt):
        return 130
    if isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
        return 1
    return int(stop.code or 0)


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
