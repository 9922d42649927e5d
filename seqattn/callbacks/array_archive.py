"""An ``.npz`` file that is written array by array, so that none has to stay in memory."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np


class ArrayArchive:
    """Writes an ``.npz`` that ``numpy.load`` reads; any string is a key.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def write(self, key: str, array: Any) -> None:
        """Add one array."""
        with self._file.open(_member(key), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    def close(self) -> None:
        """Write the table of contents; without it the file is no archive."""
        self._file.close()


def merge_archives(parts: Sequence[Path], keys: Sequence[str], path: Path) -> None:
    """Copy the arrays of several archives into one, in the order of `keys`, then delete the parts.

    Raises:
        KeyError: if no part has a key.
    """
    unfinished = path.with_name(f"{path.name}.part")
    with ExitStack() as stack:
        files = [stack.enter_context(zipfile.ZipFile(part)) for part in parts]
        owners = {name: file for file in files for name in file.namelist()}
        merged = stack.enter_context(zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED))
        for name in map(_member, keys):
            with owners[name].open(name) as old, merged.open(name, "w", force_zip64=True) as new:
                shutil.copyfileobj(old, new)
    os.replace(unfinished, path)
    for part in parts:
        part.unlink()


def _member(key: str) -> str:
    return f"{key}.npy"
