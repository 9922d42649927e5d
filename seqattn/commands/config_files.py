"""The YAML files of a command line, with the line on which each key stands."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """One key of one file.

    Args:
        file: path of the YAML file as given.
        line: 1-based.
        path: the key and what it stands under.
        value: the scalar's text, or "" for a mapping or a list.
    """

    file: str
    line: int
    path: Parts
    value: str


class ConfigFiles:
    """Keys of several stacked files; a later file comes first when a key is looked for.

    Args:
        paths: the files, in the order of the command line. One that cannot be read has no keys.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self.places = [place for path in reversed(self.paths) for place in _places_of(path)]

    def find(self, path: Parts) -> Parts | None:
        """Return the whole path of a key, given with or without `init_args`."""
        place = self._place(path)
        return place.path if place else None

    def place(self, path: Parts) -> str:
        """Return ``file:line: `` of a key, or nothing where no file holds it."""
        place = self._place(path)
        return f"{place.file}:{place.line}: " if place else ""

    def place_of_value(self, path: Parts, value: str, *, exact: bool = False) -> str:
        """Return ``file:line: `` of the key that holds this value, or of the key alone.

        Args:
            path: the whole key, without `init_args`.
            value: the scalar's text.
            exact: whether the key alone is not enough.
        """
        named = [place for place in self.places if bare(place.path) == path]
        holding = [place for place in named if value and place.value == value]
        found = (holding or ([] if exact else named))[:1]
        return "".join(f"{place.file}:{place.line}: " for place in found)

    def place_of_name(self, class_path: str) -> str:
        """Return ``file:line: `` of the first key that names a class."""
        found = [place for place in self.places if place.value == class_path][:1]
        return "".join(f"{place.file}:{place.line}: " for place in found)

    def complete(self, path: Parts, value: str = "", *, exact: bool = False) -> Parts:
        """Return a key with the names of a mapping's parts, which a parser's message leaves out.

        Args:
            path: the key, such as ``model.heads.frontend``.
            value: the scalar that the right key holds; "" for any.
            exact: whether a key with another value will not do.
        """
        wanted = bare(path)
        places = [(bare(place.path), place.value) for place in self.places]
        if any(own == wanted for own, _ in places):
            return path
        longer = [(own, held) for own, held in places if _holds(own, wanted)]
        matching = [own for own, held in longer if held == value] if value else []
        others = [] if exact else [own for own, _ in longer]
        return next(iter([*matching, *others, path]))

    def has_below(self, path: Parts) -> bool:
        """Return whether a file has keys below another one."""
        return any(bare(place.path)[:-1] == bare(path) for place in self.places)

    def class_path(self, path: Parts) -> str:
        """Return the class that the files name for a part; "" where they name none."""
        wanted = (*bare(path), "class_path")
        return next((place.value for place in self.places if bare(place.path) == wanted), "")

    def unnamed_part(self, path: Parts) -> Parts | None:
        """Return the part that an option reaches into though no file names its class."""
        for depth in range(2, len(path)):
            part = path[:depth]
            if self.class_path(part[:-1]) and not self.class_path(part):
                return part
        return None

    def fault(self) -> str | None:
        """Return what is wrong with the first file that is not YAML, or no mapping of mappings."""
        for path in self.paths:
            try:
                text = Path(path).read_text(encoding="utf-8")
                root = yaml.compose(text, Loader=yaml.SafeLoader)
            except yaml.MarkedYAMLError as error:
                line = error.problem_mark.line + 1 if error.problem_mark else 1
                return f"{path}:{line}: the file must be YAML, but {error.problem}"
            except (UnicodeDecodeError, yaml.YAMLError) as error:
                return f"{path}: the file must be YAML in UTF-8, but {error}"
            except OSError as error:
                return f"{path}: the config must be a file, but {error.strerror}"
            if root is None or not isinstance(root, yaml.MappingNode):
                return f"{path}:1: the file must be a mapping of keys, got {_kind(root)}"
            for key, value in root.value:
                if not _may_hold(str(key.value), value):
                    line = key.start_mark.line + 1
                    return f"{path}:{line}: {key.value} must be a mapping, got {_kind(value)}"
        return None

    def _place(self, path: Parts) -> Place | None:
        wanted = bare(path)
        return next((place for place in self.places if bare(place.path) == wanted), None)


def config_paths(arguments: Sequence[str]) -> list[str]:
    """Return the files that `--config` or `-c` names, in order."""
    found = []
    for position, word in enumerate(arguments):
        name, _, value = word.partition("=")
        if name in ("--config", "-c"):
            found.append(value or "".join(arguments[position + 1 : position + 2]))
    return found


def bare(path: Parts) -> Parts:
    """Return a key without `init_args` and without the ``+`` of what is added to a list."""
    return tuple(part.removesuffix("+") for part in path if part != "init_args")


def constructor_names(class_path: str) -> list[str]:
    """Return the arguments of a class that is imported already; none if it is not."""
    module, _, name = class_path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    names: list[str] = []
    for base in getattr(cls, "__mro__", ()):
        if "__init__" not in base.__dict__:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names += [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def _holds(path: Parts, wanted: Parts) -> bool:
    """Whether a key is another one with further names inside."""
    rest = iter(path)
    return path[:1] == wanted[:1] and path[-1:] == wanted[-1:] and all(p in rest for p in wanted)


def _places_of(path: str) -> list[Place]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    return list(_walk(path, root, ()))


def _walk(file: str, node: Any, path: Parts) -> Iterator[Place]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            text = str(value.value) if isinstance(value, yaml.ScalarNode) else ""
            yield Place(file, key.start_mark.line + 1, below, text)
            yield from _walk(file, value, below)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(file, item, path)


def _may_hold(key: str, value: Any) -> bool:
    """Return whether a key that must be a mapping is one; a part may be its class alone."""
    if key in ("model", "data") and isinstance(value, yaml.ScalarNode):
        return "." in str(value.value)
    named = ("trainer", "model", "data", "wandb", "predictions")
    return key not in named or isinstance(value, yaml.MappingNode)


def _kind(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "nothing"
