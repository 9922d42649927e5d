"""Runs one of the Trainer's commands, and turns a mistake of the user into one sentence."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from seqattn.callbacks.wandb import close_failed_run
from seqattn.commands.mistakes import UserMistake
from seqattn.commands.options import take_values
from seqattn.commands.process_settings import process_settings
from seqattn.commands.run_directory import DIRECTORY_VARIABLE, remove_unused
from seqattn.commands.training import SequenceCLI
from seqattn.commands.trust import import_policy
from seqattn.errors import DataError

_OURS = ("seqattn", "tasks")


def run(arguments: Sequence[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` and return the exit code.

    Options that are the command's own, not a config's: ``--trust NAME`` (repeatable) lets a
    config name classes of that package; ``--debug`` shows Lightning's messages and tracebacks.
    """
    debug = "--debug" in arguments or os.environ.get("SEQATTN_DEBUG", "") not in ("", "0")
    inherited = os.environ.get(DIRECTORY_VARIABLE)
    with process_settings(debug=debug):
        try:
            words = [word for word in arguments if word != "--debug"]
            words, trust = take_values(words, "--trust")
            with import_policy(trust):
                SequenceCLI(words, trust)
        except SystemExit as stop:
            return _exit_code(stop)
        except Exception as error:
            close_failed_run()
            made = os.environ.get(DIRECTORY_VARIABLE)
            if made is not None and made != inherited:
                remove_unused(Path(made))
            sentence = None if debug else user_mistake(error)
            if sentence is None:
                raise
            print(f"error: {sentence}", file=sys.stderr)
            return 2
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
    kinds = (ValueError, TypeError, OSError, ImportError, ArithmeticError)
    return isinstance(error, kinds) and _is_our_check(error)


def _is_our_check(error: BaseException) -> bool:
    """Return whether a `raise` statement of ours threw an error, and no call within one."""
    *_, (frame, line) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    if frame is None:
        return False
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    text = linecache.getline(frame.f_code.co_filename, line, frame.f_globals)
    return package in _OURS and text.lstrip().startswith("raise ")


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
