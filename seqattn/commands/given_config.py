"""The text of ``config.yaml``: what the user gave, word for word."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqattn.commands.config_files import config_paths

_TO_RUN_AGAIN = "# to run it again: seqattn fit --config resolved.yaml, which holds every value"
_NO_OVERRIDES = ("--config", "-c", "--ckpt_path", "--trust")


def given_text(arguments: Sequence[str]) -> str:
    """Return the text of the one config, or of several with the options that override them.

    Several files stay several YAML documents, each under its path; options stand in comments.
    The file beside it, ``resolved.yaml``, is what all of them come to.

    Args:
        arguments: the command line.
    """
    paths = config_paths(arguments)
    texts = [Path(path).read_text(encoding="utf-8") for path in paths]
    options = [shlex.quote(option) for option in _overrides(arguments)]
    if len(texts) == 1 and not options:
        return texts[0]
    overrides = "".join(f"# override: {option}\n" for option in options)
    documents = [
        f"--- # {path}\n{text.rstrip()}\n" for path, text in zip(paths, texts, strict=True)
    ]
    return f"{_TO_RUN_AGAIN}\n{overrides}{''.join(documents)}"


def _overrides(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the options that change a value, each with its value."""
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            continue
        value = value if equals else next(words, "")
        if name not in _NO_OVERRIDES:
            yield f"{name}={value}"
