"""Images and their labels in the IDX format of MNIST."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from seqattn.batch import Example
from seqattn.data.readers.base import Reader
from seqattn.data.readers.text_file import file_name, missing_file, open_bytes, require_examples
from seqattn.errors import DataError

_UNSIGNED_BYTES = 8


class IdxImages(Reader):
    """Reads the images of one IDX file of unsigned bytes, and their labels of another.

    An example's source is an array (H, W) of uint8, its target the label's number as a string. Its
    key is the file's name and the image's number, from 0.

    Args:
        path: the file of images, plain or ``.gz``.
        labels: the file of labels, plain or ``.gz``; None for images without.
    """

    def __init__(self, path: str, labels: str | None = None) -> None:
        self.path = path
        self.labels = labels

    def read(self) -> Iterator[Example]:
        """Yield the examples, in order.

        Raises:
            DataError: if a file is missing, truncated or of another format, the files differ in
                their number, or there is no image; names the file.
        """
        return require_examples(self._examples(), self.path)

    def _examples(self) -> Iterator[Example]:
        images = _read_idx(self.path, 3)
        labels = None if self.labels is None else _read_idx(self.labels, 1)
        if labels is not None and len(labels) != len(images):
            raise DataError(
                f"the file must have as many labels as {self.path} has images, which are "
                f"{len(images)}, got {len(labels)}",
                path=self.labels,
            )
        for number, image in enumerate(images):
            target = None if labels is None else str(labels[number])
            yield Example(image, target, f"{file_name(self.path)}:{number}")


def _read_idx(path: str, axes: int) -> npt.NDArray[Any]:
    """Return the array of a file: 4 bytes of type and axes, each size in 4 bytes, the values."""
    content = _read_bytes(path)
    start = 4 + 4 * axes
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTES, axes]) or len(content) < start:
        raise DataError(
            f"the file must be IDX of unsigned bytes with {axes} axes, got the first bytes "
            f"{content[:4].hex(' ')}",
            path=path,
        )
    shape = [int(size) for size in np.frombuffer(content, ">u4", axes, offset=4)]
    if len(content) - start != prod(shape):
        raise DataError(
            f"the file must hold {prod(shape)} values, as its sizes {shape} say, "
            f"got {len(content) - start}",
            path=path,
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_bytes(path: str) -> bytes:
    try:
        with open_bytes(path) as file:
            return file.read()
    except FileNotFoundError:
        raise missing_file(path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file must be gzip data as its name says: {error}", path=path
        ) from None
    except OSError as error:
        raise DataError(f"the file must be readable: {error.strerror}", path=path) from None
