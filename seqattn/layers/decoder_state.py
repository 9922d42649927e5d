"""What a decoder remembers between steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from seqattn.attention.cache import Cache
from seqattn.attention.cross import MemoryCache
from seqattn.packing import Packing


@dataclass
class DecoderState:
    """The memory of R = B W rows of equal length; row r continues sentence r // W.

    Args:
        caches: for each layer one memory per mixer, of R rows.
        memories: for each layer the keys and values of B sentences.
        size: R.
        sentences: B.
        length: positions seen so far.
    """

    caches: list[list[Cache]]
    memories: list[MemoryCache]
    size: int
    sentences: int
    length: int = 0
    _packing: Packing | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """W, rows per sentence."""
        return self.size // self.sentences if self.sentences else 0

    def select(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Keep these rows and these sentences, in this order, repeated or not.

        Args:
            rows: of what was written.
            sentences: whose memory is kept; None for all as they are.

        Shape:
            rows (R',) int64; sentences (B',) int64.

        Raises:
            ValueError: if R' is no multiple of B'.
        """
        count = self.sentences if sentences is None else len(sentences)
        if len(rows) % count if count else len(rows):
            raise ValueError(
                f"rows must be a multiple of the sentences ({count}), got {len(rows)} rows"
            )
        for caches in self.caches:
            for cache in caches:
                cache.select(rows)
        if sentences is not None:
            for memory in self.memories:
                memory.select(sentences)
        self.size, self.sentences = len(rows), count

    def packing(self, x: Tensor) -> Packing:
        """Return the layout of one position in each row, made when their number changes."""
        if self._packing is None or len(self._packing) != self.size:
            self._packing = Packing.from_lengths([1] * self.size).to(x.device)
        return self._packing
