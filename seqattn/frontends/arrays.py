"""Arrays as raw sources: of NumPy, of torch, or in a file; and what training knows of them."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqattn.errors import DataError

Array = npt.NDArray[Any]

_LARGEST = np.float64(np.finfo(np.float32).max)


def read_array(raw: Any) -> Array:
    """Return a source as an array of real numbers.

    Args:
        raw: an array, a tensor, or the path of a ``.npy`` file or of an ``.npz`` file that holds
            one array.

    Raises:
        TypeError: if it is something else, or does not hold real numbers.
        DataError: if there is no such file, or it is damaged or holds several arrays.
    """
    if isinstance(raw, str | os.PathLike):
        array = _load(os.fspath(raw))
    elif isinstance(raw, torch.Tensor):
        plain = raw.detach().cpu()
        array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    elif isinstance(raw, np.ndarray):
        array = raw
    else:
        raise TypeError(f"a source must be an array, a tensor or a path, got {type(raw).__name__}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"an array must hold integers or floats, got dtype {array.dtype}")
    return array


def require_finite(array: Array, axes: Sequence[str]) -> None:
    """Check that an array has neither NaN nor infinity, also not in float32.

    Args:
        array: any numbers.
        axes: what each axis is called in the message.

    Raises:
        ValueError: if it has; names the first place.
    """
    wrong = np.argwhere(~(np.abs(array) <= _LARGEST))
    if len(wrong):
        place = ", ".join(f"{axis} {at}" for axis, at in zip(axes, wrong[0], strict=True))
        value = array[tuple(wrong[0])]
        raise ValueError(f"values must be finite in float32, got {value} at {place}")


@contextmanager
def naming_source(number: int) -> Iterator[None]:
    """Add to an error which training source, counted from 0, it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise DataError(f"{error} (training source {number}, counted from 0)") from error


class Moments:
    """Mean and standard deviation of columns over rows that come piece by piece.

    The pieces are joined as in Chan, Golub and LeVeque (1983), equation 1.5, in float64.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(0)
        self._squares: Array = np.zeros(0)

    def add(self, rows: Array) -> None:
        """Add rows. Shape: (N, C), the same C every time; N = 0 adds nothing."""
        if not len(rows):
            return
        wide = rows.astype(np.float64)
        mean = wide.mean(0)
        squares = np.square(wide - mean).sum(0)
        if not self.count:
            self.count, self._mean, self._squares = len(wide), mean, squares
            return
        total, gap = self.count + len(wide), mean - self._mean
        self._squares = self._squares + squares + gap**2 * (self.count * len(wide) / total)
        self._mean = self._mean + gap * (len(wide) / total)
        self.count = total

    def finish(self) -> tuple[list[float], list[float]]:
        """Return means and deviations; that of a constant column, rounding aside, is 1.

        Raises:
            ValueError: if there was no row.
        """
        if not self.count:
            raise ValueError("the training sources must hold a position, got none")
        deviation = np.sqrt(self._squares / self.count)
        varies = deviation > 1e-12 * np.abs(self._mean)
        return self._mean.tolist(), np.where(varies, deviation, 1.0).tolist()


def _load(path: str) -> Array:
    """Return the one array of a file."""
    try:
        with open(path, "rb") as file:  # NumPy leaves a damaged archive open
            loaded: Any = np.load(file, allow_pickle=False)
            names = getattr(loaded, "files", [""])
            if len(names) != 1:
                raise DataError(
                    f"a file that is one source must hold one array, got {len(names)}: "
                    "read them with seqattn.data.Arrays",
                    path=path,
                )
            array: Array = loaded if isinstance(loaded, np.ndarray) else loaded[names[0]]
            return array
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("the file must exist, got no such file", path=path) from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise DataError(f"the file must be a whole .npy or .npz file: {error}", path=path) from None
