"""Parts that remember how they were made, so that a checkpoint can make them again.

A part (front-end, encoder, decoder, pattern, head, reader) inherits :class:`Recorded` and does
nothing else: the arguments of its constructor are kept when it is made, as plain data.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Self

Spec = dict[str, Any]
"""``{"class_path": "package.module.Class", "init_args": {...}}``, as in a Lightning YAML."""

_PLAIN = (bool, int, float, str, type(None))


class Recorded:
    """Base of every part: keeps its constructor's arguments as plain data in :attr:`spec`.

    Raises:
        TypeError: if an argument is neither plain data (bool, int, float, str, None, list, dict)
            nor another recorded part.
    """

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Bind the arguments to the constructor's names before ``__init__`` sees them."""
        self = super().__new__(cls)
        try:
            named = _name_arguments(cls, args, kwargs)
        except TypeError:  # copying makes an object without arguments; a real mistake is
            named = {}  # reported by __init__, with Python's own sentence
        for name, value in named.items():
            _require_plain(cls, name, value)
        object.__setattr__(self, "_init_args", named)
        return self

    @property
    def spec(self) -> Spec:
        """Class path and constructor arguments as plain data."""
        arguments = {name: _to_plain(value) for name, value in self._init_args.items()}
        return {"class_path": class_path(type(self)), "init_args": arguments}


def class_path(cls: type) -> str:
    """Return the path that names a class in YAML: the public one where there is one."""
    for package in ("seqattn", "seqattn.data"):
        module = sys.modules.get(package)
        public = getattr(module, "__all__", ()) if module else ()
        if cls.__module__.startswith("seqattn.") and cls.__name__ in public:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def build(spec: Mapping[str, Any], trust: Iterable[str] = ()) -> Any:
    """Make the part that a specification describes, its recorded arguments included.

    Args:
        spec: what :attr:`Recorded.spec` gave.
        trust: modules, packages or class paths that may be imported for it. Classes of seqattn
            and classes that are imported already need no trust.

    Raises:
        ValueError: if a class is neither known nor trusted, or is not a recorded part.
    """
    trust = tuple(trust)
    cls = resolve(str(spec["class_path"]), trust)
    arguments = {name: _from_plain(value, trust) for name, value in spec["init_args"].items()}
    return cls(**arguments)


def resolve(path: str, trust: tuple[str, ...] = ()) -> type:
    """Return the recorded class of that path; import its module only if it is trusted.

    Raises:
        ValueError: as in :func:`build`.
    """
    module_name, _, name = path.rpartition(".")
    module = sys.modules.get(module_name)
    if module is None:
        if not _is_trusted(path, ("seqattn", *trust)):
            raise ValueError(
                f"a checkpoint's classes must be imported already or be trusted, got {path!r}: "
                f"import it first, or pass trust=[{module_name!r}] if you know who wrote it"
            )
        module = importlib.import_module(module_name)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Recorded)):
        raise ValueError(f"class_path must name a part of seqattn or a subclass, got {path!r}")
    return found


def _is_trusted(path: str, trust: Iterable[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in trust)


def _name_arguments(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Give every argument the name that it has in the constructor, or in the parent's."""
    chain = [base for base in cls.__mro__ if "__init__" in base.__dict__]
    named: dict[str, Any] = {}
    extra, rest = args, dict(kwargs)
    for base in chain:
        signature = inspect.signature(base.__init__)  # type: ignore[misc]
        bound = signature.bind(None, *extra, **rest)
        extra, rest = (), {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                extra = value
            elif kind is inspect.Parameter.VAR_KEYWORD:
                rest = value
            else:
                named[name] = value
        if not extra and not rest:
            break
    return named


def _require_plain(cls: type, name: str, value: Any) -> None:
    if isinstance(value, (Recorded, *_PLAIN)):
        return
    if isinstance(value, list | tuple):
        for item in value:
            _require_plain(cls, name, item)
        return
    if isinstance(value, Mapping):
        for item in value.values():
            _require_plain(cls, name, item)
        return
    raise TypeError(
        f"{name} of {cls.__name__} must be plain data or a part of seqattn, "
        f"so that a checkpoint can hold it, got {type(value).__name__}"
    )


def _to_plain(value: Any) -> Any:
    if isinstance(value, Recorded):
        return value.spec
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _to_plain(item) for name, item in value.items()}
    return value


def _from_plain(value: Any, trust: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"class_path", "init_args"}:
            return build(value, trust)
        return {name: _from_plain(item, trust) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_plain(item, trust) for item in value]
    return value
