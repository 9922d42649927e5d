"""The model of a checkpoint as a config's ``model``, for a command line that gives none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seqattn.checkpoint import SavedHead
from seqattn.commands.config_files import ConfigFiles, config_paths
from seqattn.commands.mistakes import UserMistake
from seqattn.commands.options import take_values


def model_of_checkpoint(arguments: Sequence[str], trust: Sequence[str]) -> list[str]:
    """Return the option that names a checkpoint's head, if nothing else on the line names one.

    Args:
        arguments: the command line.
        trust: packages whose classes the checkpoint may name.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged or holds more than plain data.
        UserMistake: if it names a class that nobody trusts.
    """
    _, given = take_values(arguments, "--ckpt_path")
    named = any(word.partition("=")[0].partition(".")[0] == "--model" for word in arguments)
    if not given or named or given[-1] in ("last", "best") or "://" in given[-1]:
        return []
    if ConfigFiles(config_paths(arguments)).find(("model",)):
        return []
    saved = SavedHead.read(given[-1])
    for path in _class_paths(saved.spec):
        if not any(path.startswith(f"{name}.") or path == name for name in ("seqattn", *trust)):
            module = path.rpartition(".")[0]
            raise UserMistake(
                f"{saved.path} names the class {path!r}; if you know who wrote it, give a config "
                f"that names it too, or add --trust {module}"
            )
    arguments_of_head = {**saved.spec["init_args"], "init_from": None}
    spec = {"class_path": saved.spec["class_path"], "init_args": arguments_of_head}
    return [f"--model={json.dumps(spec)}"]


def _class_paths(spec: Any) -> Iterator[str]:
    if isinstance(spec, Mapping):
        if isinstance(spec.get("class_path"), str):
            yield spec["class_path"]
        for value in spec.values():
            yield from _class_paths(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _class_paths(value)
