"""A parser's complaint as one sentence: the rule, the nearest valid key, the line of the YAML."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace

from seqattn.commands.config_files import ConfigFiles, bare, constructor_names
from seqattn.commands.parser_message import Complaint, Parts, read_complaint
from seqattn.commands.wanted import choices, wanted


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
        names = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        self.flags = {bare(tuple(name[2:].split("."))): name for name in names}

    def explain(self, message: str) -> str:
        """Return the sentence for one message."""
        unread = re.search(r"unrecognized arguments: (\S+)", message)
        if unread:
            return self._unknown_flag(unread[1])
        complaint = read_complaint(message)
        unknown = re.search(r"(?:does not accept option|Option) '([^']+)'", complaint.body)
        if unknown:
            names = unknown[1].split(".")
            known = constructor_names(complaint.class_path)
            if known and names[0] not in known:
                del names[1:]  # which stand below the wrong one
            return self._unknown_key((*complaint.key, *names), complaint.class_path)
        if "following arguments are required" in complaint.body:
            return self._missing(self._completed(complaint))
        if "Unable to load config" in message and complaint.key:
            return self._no_mapping(complaint.key, message)
        if not complaint.key:
            return complaint.last_line
        return self._wrong_value(self._completed(complaint))

    def _completed(self, complaint: Complaint) -> Complaint:
        """Put the names of a mapping's parts into the key."""
        key, class_path = complaint.key, complaint.class_path
        if bare(key) in self.flags or not key:
            return complaint
        if class_path:
            whole = self.files.complete((*key, "class_path"), class_path, exact=True)
            return replace(complaint, key=whole[:-1])
        return replace(complaint, key=self.files.complete(key, complaint.value))

    # --- keys -------------------------------------------------------------------------------

    def _unknown_key(self, path: Parts, class_path: str) -> str:
        path = self.files.complete(path)
        flag = self.flags.get(bare(path))
        if flag and not self.files.find(path):
            return self._unknown_flag(flag)
        found = self.files.find(path) or self.files.find(path[:1]) or path
        return self._no_such_key(found, class_path=class_path)

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

    def _no_such_key(self, path: Parts, *, flag: str = "", class_path: str = "") -> str:
        depth = next((d for d in range(1, len(path)) if not self._is_valid(path[:d])), len(path))
        known = constructor_names(class_path) if depth == len(path) else []
        path = path[:depth]
        valid = known or self._siblings(path[:-1])
        shown = ".".join(bare(path))
        hint = nearest(path[-1], valid) or _offer(valid)
        return f"{self.files.place(path)}{flag}{shown} is not a known key{hint}"

    def _siblings(self, parent: Parts) -> list[str]:
        """Return the keys that may stand beside one another under `parent`."""
        depth = len(parent) + 1
        plain = {tuple(key.split("."))[:depth] for key in self.keys}
        names = sorted({key[-1] for key in plain if len(key) == depth and key[:-1] == parent})
        if parent and parent[-1] == "init_args":
            return constructor_names(self.files.class_path(parent[:-1]))
        return names or constructor_names(self.files.class_path(parent))

    def _is_valid(self, path: Parts) -> bool:
        name, siblings = path[-1].removesuffix("+"), self._siblings(path[:-1])
        # a mapping of parts, such as model.heads, takes any name
        is_of_mapping = not siblings and len(bare(path)) > 2 and self.files.has_below(path)
        return name in ("init_args", "class_path", *siblings) or is_of_mapping

    def _missing(self, complaint: Complaint) -> str:
        found = re.search(r"arguments are required: ([\w., ]+)", complaint.body)
        names = found[1].strip().split(", ") if found else []
        if not complaint.class_path:
            words = [name.split(".", 1)[-1] for name in names]
            return f"{_are(words)} required, but no config and no option gives a value"
        place = self._place_of_class(complaint.key, complaint.class_path)
        words = [".".join((*complaint.key, name)) for name in names]
        return f"{place}{_are(words)} required by {complaint.class_path}"

    # --- values -----------------------------------------------------------------------------

    def _no_mapping(self, key: Parts, message: str) -> str:
        found = re.search(r"Unable to load config ['\"](.*)['\"]", message)
        value = found[1] if found else ""
        place = self._place_of_value(key, value)
        return f"{place}{'.'.join(key)} must be a mapping or the path of one, got {value!r}"

    def _wrong_value(self, complaint: Complaint) -> str:
        key, value = complaint.key, complaint.value
        denied = re.search(r"Importing '([^']+)' is not allowed", complaint.body)
        if denied:
            return self._denied(denied[1])
        nested = re.match(r"NestedArg\(key='([^']+)'", value)
        if nested:
            return self._unknown_flag(".".join((*key, nested[1])))
        shown = ".".join(key)
        no_path = re.search(r"Expected a dot import path string: (\S+)", complaint.body)
        name = complaint.class_path or (no_path[1] if no_path else "")
        if name and not choices(complaint.expected):
            place = self._place_of_class(key, name)
            reason = "it must be MODULE.NAME" if no_path else complaint.last_line
            return f"{place}{shown} names the class {name!r}: {reason}{nearest_class(name)}"
        place = self._place_of_value(key, value)
        if not complaint.expected:
            return f"{place}{shown}: {complaint.last_line}"
        near = nearest(value, choices(complaint.expected))
        return f"{place}{shown} must be {wanted(complaint.expected)}, got {value!r}{near}"

    def _place_of_value(self, key: Parts, value: str) -> str:
        """Return ``file:line: `` unless the command line gives the value."""
        if key in self.flags:
            return ""
        around = any(key[:depth] in self.flags for depth in range(1, len(key)))
        return self.files.place_of_value(key, value, exact=around)

    def _place_of_class(self, key: Parts, name: str) -> str:
        if key in self.flags or (*key, "class_path") in self.flags:
            return ""
        return self.files.place_of_value(
            (*key, "class_path"), name, exact=True
        ) or self._place_of_value(key, name)

    def _denied(self, path: str) -> str:
        place = self.files.place_of_name(path)
        module = path.rpartition(".")[0] or path
        refused = f"{place}the class path {path!r} lies outside the trusted modules"
        if module.partition(".")[0] in sys.stdlib_module_names:
            return refused
        return f"{refused}; if you know who wrote it, add --trust {module}"


def nearest(name: str, valid: Sequence[str]) -> str:
    """Return a hint at the valid name that is most like another, or nothing."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; the nearest valid one is {near[0]!r}" if near else ""


def nearest_class(path: str) -> str:
    """Return a hint at a class whose name is most like that of a class path, or nothing."""
    module, _, name = path.rpartition(".")
    homes = [module] if module in sys.modules else ["seqattn", "seqattn.data"]
    names = {
        public: f"{home}.{public}"
        for home in homes
        for public in dir(sys.modules.get(home))
        if public[:1].isupper()
    }
    near = difflib.get_close_matches(name, names, n=1)
    return f"; the nearest valid one is {names[near[0]]!r}" if near else ""


def _are(words: Sequence[str]) -> str:
    return f"{' and '.join(words)} {'is' if len(words) == 1 else 'are'}"


def _offer(names: Sequence[str]) -> str:
    return f"; known here: {', '.join(names[:12])}" if names else ""
