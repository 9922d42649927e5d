"""Sub-commands of `lightning` that belong to another installed distribution."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions


def forward(name: str, arguments: list[str]) -> int:
    """Run another distribution's `lightning` with these arguments and return its exit code.

    Args:
        name: the sub-command, for the message if nobody owns it.
        arguments: the whole command line after `lightning`.
    """
    owner = find_owner()
    if owner is None:
        print(
            f"error: lightning has no command {name!r} here: fit, validate, test and predict are "
            "seqattn's, and no other installed package brings a `lightning` command",
            file=sys.stderr,
        )
        return 2
    sys.argv = [sys.argv[0], *arguments]
    result = owner.load()()
    return result if isinstance(result, int) else 0


def find_owner() -> EntryPoint | None:
    """Return the `lightning` console script of a distribution that is not this one."""
    return next(iter(_foreign_scripts()), None)


def _foreign_scripts() -> Iterable[EntryPoint]:
    for distribution in distributions():
        for script in distribution.entry_points:
            is_ours = script.value.startswith("seqattn.")
            if script.group == "console_scripts" and script.name == "lightning" and not is_ours:
                yield script
