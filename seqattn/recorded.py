"""Parts that remember how they were made, so that a checkpoint can make them again.

A part (front-end, encoder, decoder, pattern, head, reader) inherits :class:`Recorded` and does
nothing else: the arguments of its constructor are kept when it is made, as plain data.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Self

Spec = dict[str, Any]
"""``{"class_path": "package.module.Class", "init_args": {...}}``, as in a Lightning YAML."""

# An enum's or NumPy's subclass of these becomes the plain type, which any checkpoint may hold.
_EXACT: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
}


class Recorded:
    """Base of every part: keeps its constructor's arguments as plain data in :attr:`spec`.

    What ``*args`` and ``**kwargs`` of a subclass take is recorded under its parent's names, as in
    ``super().__init__(*args, **kwargs)``.

    Defaults are recorded too, so that a checkpoint keeps its meaning when a later version changes
    one; not those of a parent behind ``**kwargs``, which the subclass may pass itself.

    Raises:
        TypeError: if an argument is neither plain data (bool, int, float, str, None, list, dict
            with strings as keys) nor another recorded part, or has no name to be passed by.
    """

    makes: ClassVar[frozenset[str]] = frozenset()
    """Arguments that hold parts, or functions that make parts of what only this one knows: its
    ``__init__`` hands them to :meth:`record` itself. Their specs may lack arguments, and
    :func:`build` turns them into such functions."""

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Bind the arguments to the constructor's names before ``__init__`` sees them."""
        self = super().__new__(cls)
        named = _name_arguments(cls, args, kwargs)
        plain = {n: _to_plain(cls, n, value) for n, value in named.items() if n not in cls.makes}
        object.__setattr__(self, "_init_args", plain)
        return self

    def record(self, name: str, value: Any) -> None:
        """Keep one of the arguments that this class `makes`, as plain data.

        Raises:
            TypeError: if it is neither plain data nor a recorded part.
        """
        self._init_args[name] = _to_plain(type(self), name, value)

    @property
    def spec(self) -> Spec:
        """Class path and constructor arguments as plain data; a copy of what was recorded."""
        return {
            "class_path": class_path(type(self)),
            "init_args": copy.deepcopy(self._init_args),
        }


def class_path(cls: type) -> str:
    """Return the path that names a class in YAML: the public one where there is one."""
    for package in ("seqattn", "seqattn.data"):
        module = sys.modules.get(package)
        public = getattr(module, "__all__", ()) if module else ()
        if cls.__module__.startswith("seqattn.") and cls.__name__ in public:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def build(spec: Mapping[str, Any], trust: str | Iterable[str] = ()) -> Any:
    """Make the part that a specification describes, its recorded arguments included.

    Args:
        spec: what :attr:`Recorded.spec` gave.
        trust: modules, packages or class paths that may be imported for it. Classes of seqattn
            and classes that are imported already need no trust. One name, or several.

    Raises:
        ValueError: if a class is neither known nor trusted, or is not a recorded part, or does not
            take the arguments.
    """
    if spec.keys() != {"class_path", "init_args"}:
        raise ValueError(f"a part's spec must hold class_path and init_args, got {sorted(spec)}")
    if not isinstance(spec["init_args"], Mapping):
        raise ValueError(f"init_args must be a mapping, got {spec['init_args']!r}")
    trust = (trust,) if isinstance(trust, str) else tuple(trust)
    cls = resolve(str(spec["class_path"]), trust)
    arguments = {
        name: (_postpone if name in cls.makes else _from_plain)(value, trust)
        for name, value in spec["init_args"].items()
    }
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(
            f"init_args must be arguments of {spec['class_path']}, got {sorted(arguments)}: {error}"
        ) from error


def resolve(path: str, trust: tuple[str, ...] = ()) -> type[Recorded]:
    """Return the recorded class of that path; import its module only if it is trusted.

    Raises:
        ValueError: as in :func:`build`.
    """
    module_name, _, name = path.rpartition(".")
    module = sys.modules.get(module_name)
    trusted = _is_trusted(path, ("seqattn", *trust))
    if module is None:
        if not trusted:
            raise ValueError(
                f"a checkpoint's classes must be imported already or be trusted, got {path!r}: "
                f"import it first, or pass trust=[{module_name!r}] if you know who wrote it"
            )
        module = importlib.import_module(module_name)
    # A module that nobody trusts is only looked at: its own __getattr__ might import more.
    found = getattr(module, name, None) if trusted else vars(module).get(name)
    if not (isinstance(found, type) and issubclass(found, Recorded)):
        raise ValueError(f"class_path must name a part of seqattn or a subclass, got {path!r}")
    return found


def default_arguments(path: str) -> dict[str, Any]:
    """Return what the constructor of an imported class takes by default, as plain data.

    Arguments that a class hands on to its parents count too. A class that is not imported, or is
    no part, has none.
    """
    try:
        cls = resolve(path)
    except ValueError:
        return {}
    found: dict[str, Any] = {}
    for base in reversed([base for base in cls.__mro__ if "__init__" in vars(base)]):
        for name, parameter in inspect.signature(base.__init__).parameters.items():  # type: ignore[misc]
            if parameter.default is not parameter.empty:
                found[name] = _to_plain(base, name, parameter.default)
    return found


def _is_trusted(path: str, trust: Iterable[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in trust)


def _name_arguments(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Give every argument the name by which the constructor can be given it again."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:  # copying makes an object without arguments; a real mistake is
        return {}  # reported by __init__, with Python's own sentence
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            named.update(_name_positional(cls, value))
        else:
            named[name] = value
    return named


def _name_positional(cls: type, values: tuple[Any, ...]) -> dict[str, Any]:
    """Give what ``*args`` took the names of the parents' first parameters."""
    names: list[str] = []
    makers = [base for base in cls.__mro__ if "__init__" in vars(base)]
    for base in makers:
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        if base is not makers[0]:
            names += [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        if not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= {
            p.kind for p in parameters
        }:
            break
    if len(values) > len(names):
        raise TypeError(
            f"arguments of {cls.__name__} must have names, so that a checkpoint can hold them, "
            f"got {values[len(names)]!r} for *args"
        )
    return dict(zip(names, values, strict=False))


def _to_plain(cls: type, name: str, value: Any) -> Any:
    """Return a copy of an argument as plain data.

    Raises:
        TypeError: if it is neither plain data nor a recorded part.
    """
    if isinstance(value, Recorded):
        return value.spec
    if value is None or isinstance(value, bool):
        return value
    for kind, exact in _EXACT.items():
        if isinstance(value, kind):
            return exact(value)
    if isinstance(value, list | tuple):
        return [_to_plain(cls, name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): _to_plain(cls, name, item) for key, item in value.items()}
    raise TypeError(
        f"{name} of {cls.__name__} must be plain data or a part of seqattn, "
        f"so that a checkpoint can hold it, got {type(value).__name__}"
    )


def _postpone(value: Any, trust: tuple[str, ...]) -> Any:
    """Turn specs into functions that build them with further arguments."""
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"class_path", "init_args"}:
        return partial(_build_with, value, trust)
    return {name: _postpone(item, trust) for name, item in value.items()}


def _build_with(spec: Mapping[str, Any], trust: tuple[str, ...], **further: Any) -> Any:
    return build({**spec, "init_args": {**spec["init_args"], **further}}, trust)


def _from_plain(value: Any, trust: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"class_path", "init_args"}:
            return build(value, trust)
        return {name: _from_plain(item, trust) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_plain(item, trust) for item in value]
    return value
