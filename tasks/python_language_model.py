"""Which character comes next? The standard library's source as raw text, comments and all.

The modules and their splits are those of the running interpreter's own library, as in the other
tasks on Python source; nothing is downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from seqattn import Example
from seqattn.data import Reader
from tasks.standard_library import SplitName, choose_modules, read_sources

_logger = logging.getLogger(__name__)


class PythonSource(Reader):
    """Gives the standard library's source in consecutive chunks of characters.

    Chunks do not overlap and leave nothing out; the last of a module may be shorter. A key is
    ``"module:offset"``, the offset in characters. There is no target. Modules that are missing
    are left out, listed in :attr:`skipped` and logged.

    Args:
        split: "train", "val" or "test"; a module's name decides where it is.
        fraction: part of the split's modules to read.
        seed: which modules a fraction takes.
        chunk: characters of an example.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self, split: SplitName, *, fraction: float = 1.0, seed: int = 0, chunk: int = 256
    ) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self.modules = choose_modules(split, fraction, seed)
        self.split = split
        self.chunk = chunk
        self.skipped: list[str] = []

    def read(self) -> Iterator[Example]:
        """Yield the examples: source a string, no target.

        Raises:
            DataError: if this Python has no source of its standard library.
        """
        sources = read_sources(self.modules)
        self.skipped = [module for module in self.modules if module not in sources]
        for module, source in sources.items():
            for offset in range(0, len(source), self.chunk):
                text = source[offset : offset + self.chunk]
                yield Example(source=text, key=f"{module}:{offset}")
        names = " ".join(self.skipped) or "none"
        _logger.info("%s: of %d modules skipped: %s", self.split, len(self.modules), names)
