"""Tables that are dear to compute, kept for the graphs that were last seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float32]


class TableCache:
    """Keeps tables up to a number of bytes in all, and at least the last; one per process.

    Args:
        max_bytes: what is kept at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._tables: OrderedDict[bytes, Table] = OrderedDict()

    def get(self, key: bytes, make: Callable[[], Table]) -> Table:
        """Return the table of a key, made where it is not kept. It must not be written to."""
        if key not in self._tables:
            self._tables[key] = make()
            self.bytes += self._tables[key].nbytes
            while len(self._tables) > 1 and self.bytes > self.max_bytes:
                self.bytes -= self._tables.popitem(last=False)[1].nbytes
        self._tables.move_to_end(key)
        return self._tables[key]

    def __len__(self) -> int:
        """Return how many tables are kept."""
        return len(self._tables)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables at home when sent to another process."""
        return {"max_bytes": self.max_bytes, "bytes": 0, "_tables": OrderedDict()}
