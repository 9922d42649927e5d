"""A parser's complaint as one sentence: the rule, the nearest valid key, the line of the YAML."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence

from seqattn.commands.config_files import ConfigFiles, constructor_names

Parts = tuple[str, ...]


class UserMistake(Exception):  # noqa: N818  # it is the user's sentence, not a fault of the program
    """One sentence for the user; the command ends with exit code 2 and no traceback."""


class Explainer:
    """Turns a message of jsonargparse into a sentence.

    Args:
        files: the config files of the command line.
        arguments: the command line.
        keys: every key that the parser knows, with dots.
    """

    def __init__(self, files: ConfigFiles, arguments: Sequence[str], keys: Sequence[str]) -> None:
        self.files = files
        self.arguments = list(arguments)
        self.keys = list(keys)

    def explain(self, message: str) -> str:
        """Return the sentence for one message."""
        unknown = re.search(r"(?:does not accept option|Option) '([^']+)'", message)
        if unknown:
            return self._unknown_key(tuple(unknown[1].split(".")))
        unread = re.search(r"unrecognized arguments: (\S+)", message)
        if unread:
            return self._unknown_flag(unread[1])
        if "following arguments are required" in message:
            return self._missing(message)
        if "Problems parsing config" in message or "Unable to load config" in message:
            return self.files.syntax_error() or _last_line(message)
        *_, key, body = re.split(r'Parser key "([^"]*)":', f'Parser key "":{message}')
        return self._wrong_value(key, body) if key else _last_line(message)

    def _unknown_key(self, key: Parts) -> str:
        override = self._override(key)
        if override:
            return self._unknown_flag(override)
        return self._no_such_key(self.files.find(key) or self.files.find(key[:1]) or key)

    def _unknown_flag(self, flag: str) -> str:
        """Explain an option; jsonargparse may have cut its beginning off."""
        name = flag.lstrip("-").split("=", 1)[0]
        whole = [word for word in self.arguments if word.split("=", 1)[0].endswith(name)]
        path = tuple((whole[0] if whole else flag).lstrip("-").split("=", 1)[0].split("."))
        part = self.files.unnamed_part(path)
        if part and self._is_valid(part):
            where = ".".join(part)
            return (
                f"--{'.'.join(path)} overrides an argument of {where}, which no config names: "
                f"give its class first, --{where}=CLASS"
            )
        return self._no_such_key(path, flag="--")

    def _override(self, key: Parts) -> str | None:
        """Return the option that names this key, if it is not the config that does."""
        name = ".".join(key)
        flags = [word.split("=", 1)[0] for word in self.arguments if word.startswith("--")]
        matching = [flag for flag in flags if flag.endswith(f".{name}") or flag == f"--{name}"]
        found_in_file = [flag for flag in matching if self.files.find(tuple(flag[2:].split(".")))]
        return matching[0] if matching and not found_in_file else None

    def _no_such_key(self, path: Parts, flag: str = "") -> str:
        depth = next((d for d in range(1, len(path)) if not self._is_valid(path[:d])), len(path))
        path = path[:depth]
        valid = self._siblings(path[:-1])
        near = difflib.get_close_matches(path[-1], valid, n=1, cutoff=0.5)
        shown = ".".join(part for part in path if part != "init_args")
        hint = f"the nearest valid one is {near[0]!r}" if near else _offer(valid)
        return f"{self.files.place(path)}{flag}{shown} is not a known key; {hint}".rstrip("; ")

    def _siblings(self, parent: Parts) -> list[str]:
        """Return the keys that may stand beside one another under `parent`."""
        depth = len(parent) + 1
        plain = {tuple(key.split("."))[:depth] for key in self.keys}
        names = sorted({key[-1] for key in plain if len(key) == depth and key[:-1] == parent})
        if parent and parent[-1] == "init_args":
            return constructor_names(self.files.class_path(parent[:-1]))
        return names or constructor_names(self.files.class_path(parent))

    def _is_valid(self, path: Parts) -> bool:
        return path[-1] in ("init_args", "class_path") or path[-1] in self._siblings(path[:-1])

    def _missing(self, message: str) -> str:
        found = re.search(r"arguments are required: ([\w., ]+)", message)
        names = found[1].strip().split(", ") if found else []
        words = [name.split(".", 1)[-1] for name in names]
        verb = "is" if len(words) == 1 else "are"
        return f"{' and '.join(words)} {verb} required, but no config and no option gives a value"

    def _wrong_value(self, key: str, body: str) -> str:
        denied = re.search(r"Importing '([^']+)' is not allowed", body)
        if denied:
            return self._denied(denied[1])
        nested = re.search(r"NestedArg\(key='([^']+)'", body)
        if nested:
            return self._unknown_flag(f"{key}.{nested[1]}")
        value = _given_value(body)
        flagged = any(word.split("=", 1)[0].endswith(key) for word in self.arguments)
        place = "" if flagged else self.files.place_of_value(key, value)
        bad_class = re.search(r"given class_path '([^']+)':\s*\n?\s*-?\s*(.+)", body)
        if bad_class:
            place = self.files.place_of_value("class_path", bad_class[1]) or place
            return f"{place}{key} names the class {bad_class[1]!r}: {bad_class[2].strip()}"
        allowed = _allowed(body)
        if allowed is None:
            return f"{place}{key}: {_last_line(body)}"
        return f"{place}{key} must be {allowed}, got {value!r}"

    def _denied(self, path: str) -> str:
        place = self.files.place_of_value("class_path", path)
        module = path.rpartition(".")[0] or path
        refused = f"{place}the class path {path!r} lies outside the trusted modules"
        if module.partition(".")[0] in sys.stdlib_module_names:
            return refused
        return f"{refused}; if you know who wrote it, add --trust {module}"


def _offer(names: Sequence[str]) -> str:
    return f"known here: {', '.join(names[:12])}" if names else ""


def _last_line(message: str) -> str:
    lines = [line.strip(" -") for line in message.strip().splitlines() if line.strip(" -")]
    return lines[-1] if lines else "the command line could not be read"


def _given_value(body: str) -> str:
    found = re.search(r"(?:Given value|Got value): (.*)", body)
    return found[1].strip() if found else ""


def _allowed(body: str) -> str | None:
    """Return the expected types in words, or None where the message does not say them."""
    union = re.search(r"Subtypes: \[(.*?)\]\n", body)
    single = re.search(r"Expected an? (.+?)\. Got value", body)
    listed = union or single
    if listed is None:
        return None
    words = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", listed[1])
    words = re.sub(r"typing\.|collections\.abc\.|lightning\.[\w.]*\.", "", words)
    return words.replace("NoneType", "null").replace(", null", " or null")
