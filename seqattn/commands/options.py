"""Options that are read before the parser reads the rest."""

from __future__ import annotations

from collections.abc import Sequence

from seqattn.commands.mistakes import UserMistake


def take_values(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Split an option that takes one value off the command line; return rest and values.

    Raises:
        UserMistake: if the option has no value.
    """
    rest: list[str] = []
    values: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != name:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value:
            raise UserMistake(f"{name} needs a value")
        values.append(value)
    return rest, values
