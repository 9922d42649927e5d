"""One ``.npz`` file with an array per example: features, or another model's hidden states."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import missing_file, require_examples
from seqattn.errors import DataError


class Arrays(Reader):
    """Reads an ``.npz`` file: every array is a source, its name the example's key.

    The ``hidden_states.npz`` that `predict` writes is such a file; each of its arrays holds several
    layers.

    Args:
        path: the ``.npz`` file.
        targets: a reader whose examples have the targets, found by their keys; None without.
        layer: which one to take of arrays (layers, L, F), from the end if negative; None to take
            the arrays as they are.
    """

    def __init__(
        self, path: str, targets: Reader | None = None, *, layer: int | None = None
    ) -> None:
        self.path = path
        self.targets = targets
        self.layer = layer

    def read(self) -> Iterator[Example]:
        """Yield the examples, in the file's order.

        Raises:
            DataError: if the file is missing, damaged or empty, or an array has not that layer or
                no target; names the file and the array.
        """
        return require_examples(self._examples(), self.path)

    def _examples(self) -> Iterator[Example]:
        targets = self._targets()
        with ExitStack() as stack:
            with _reported(self.path):
                file = stack.enter_context(open(self.path, "rb"))
                archive: Any = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError("the file must be an .npz archive, got one array", path=self.path)
            for key in archive.files:
                with _reported(self.path):
                    array = archive[key]
                if targets is not None and key not in targets:
                    raise DataError(
                        f"every array must have a target of its key, got none for {key!r}",
                        path=self.path,
                    )
                target = None if targets is None else targets[key]
                yield Example(self._choose(key, array), target, key)

    def _targets(self) -> dict[str, Any] | None:
        """Return the targets by key."""
        if self.targets is None:
            return None
        return {example.key: example.target for example in self.targets.read()}

    def _choose(self, key: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the layer asked for."""
        if self.layer is None:
            return array
        if array.ndim != 3 or not -len(array) <= self.layer < len(array):
            raise DataError(
                f"an array must have shape (layers, L, F) and the layer {self.layer}, "
                f"got {array.shape} for {key!r}",
                path=self.path,
            )
        chosen: npt.NDArray[Any] = array[self.layer]
        return chosen


@contextmanager
def _reported(path: str) -> Iterator[None]:
    """Turn what reading raises into errors that name the file."""
    try:
        yield
    except FileNotFoundError:
        raise missing_file(path) from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"the file must be a whole .npz archive of numbers: {error}", path=path
        ) from None
