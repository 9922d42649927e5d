"""Which modules a YAML may name: naming a class imports its module, so YAML is code.

Allowed are the packages of the stack, the modules that lie in the working directory (a user who
runs a command there trusts them as `python script.py` does), and what `--trust` names. Only the
command line trusts: a config cannot widen its own rights. Nothing is read from a URL.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jsonargparse._common as jsonargparse_settings
from jsonargparse import set_parsing_settings

PACKAGES = ("seqattn", "lightning", "torch", "torchmetrics", "torch_geometric")


@contextmanager
def import_policy(trust: Sequence[str]) -> Iterator[None]:
    """Deny every import path but the allowed ones while a command line is parsed.

    jsonargparse keeps the policy in one process-wide dict and offers no way back, so the dict is
    put back by hand: a program that calls the command in its own process keeps its own settings.

    Args:
        trust: packages, modules or class paths named by `--trust`.

    Raises:
        ValueError: if a name of `trust` is no import path.
    """
    before = dict(jsonargparse_settings.parsing_settings)
    allowed = [*PACKAGES, *local_modules(Path.cwd()), *trust]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=allowed,
        instantiate_subclass_spec_in_any=False,
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,  # LightningCLI turns it on for the whole process
    )
    try:
        yield
    finally:
        jsonargparse_settings.parsing_settings.update(before)
        set_parsing_settings(config_read_mode_fsspec_enabled=True)


def local_modules(folder: Path) -> list[str]:
    """Return the importable top-level names whose code lies in `folder`, if it is on the path.

    A name that an installed package, the standard library or a loaded module takes is left out.
    """
    if os.fspath(folder) not in sys.path:
        return []
    names = {_module_name(entry) for entry in os.scandir(folder)} - {""}
    taken = set(sys.stdlib_module_names) | set(sys.builtin_module_names) | {"jsonargparse"}
    return sorted(name for name in names - taken if _lies_in(name, folder))


def _module_name(entry: os.DirEntry[str]) -> str:
    name = entry.name.removesuffix(".py")
    is_module = entry.is_dir() if name == entry.name else True
    return name if is_module and name.isidentifier() else ""


def _lies_in(name: str, folder: Path) -> bool:
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) if loaded else None
    spec = spec or importlib.machinery.PathFinder.find_spec(name)
    if spec is None:
        return False
    if spec.origin is not None:
        return Path(spec.origin).resolve().is_relative_to(folder.resolve())
    places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    return bool(places) and all(place.is_relative_to(folder.resolve()) for place in places)
