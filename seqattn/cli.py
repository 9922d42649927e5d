"""The commands `seqattn` and `lightning`: a dispatcher that imports little before it must."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from seqattn.commands import environment, forward

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 stands for a mistake of the user.

    Args:
        args: what follows the command's name; the process's own arguments where left out.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    environment.put_working_directory_first()
    environment.set_defaults()
    # Lightning takes seconds to import; a forwarded or misspelt command need not wait for it.
    trainer_command = importlib.import_module("seqattn.commands.trainer_command")
    code: int = trainer_command.run(arguments)
    return code


def lightning(args: Sequence[str] | None = None) -> int:
    """Run a Trainer's command here, and any other with the package that also owns `lightning`."""
    arguments = list(sys.argv[1:] if args is None else args)
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is None or name in TRAINER_COMMANDS or arguments[0].startswith("-"):
        return main(arguments)
    return forward.forward(name, arguments)
