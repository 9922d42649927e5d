"""Copies symbols of the source into what a decoder writes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.heads.sequence_targets import TargetSequenceVectorizer

_TINY = 1e-20  # probability of what neither writes nor copies, so that its logarithm is finite


@dataclass
class CopySource:
    """The S positions of B sources that can be copied.

    Args:
        keys: what the pointer compares. Shape: (S, D).
        symbols: what is written where one is copied. Shape: (S,) int64.
        counts: how many are of each source. Shape: (B,) int64.
    """

    keys: Tensor
    symbols: Tensor
    counts: Tensor

    def pairs(self, sentences: Tensor) -> tuple[Tensor, Tensor]:
        """Pair every row with each position of its source.

        Shape:
            sentences (N,): the source of each row. returns: rows and positions, (P,) int64 each.
        """
        counts = self.counts[sentences]
        rows = torch.repeat_interleave(counts)
        first = self.counts.cumsum(0) - self.counts
        shift = first[sentences] - (counts.cumsum(0) - counts)
        return rows, torch.arange(len(rows), device=rows.device) + shift[rows]

    def select(self, sentences: Tensor) -> CopySource:
        """Return the sources that remain. Shape: sentences (B',) int64."""
        _, kept = self.pairs(sentences)
        return CopySource(self.keys[kept], self.symbols[kept], self.counts[sentences])


class Pointer(nn.Module):
    """Mixes what is written with what is copied (See, Liu & Manning 2017, equations 8 and 9).

    Each symbol comes from the vocabulary with probability g, and otherwise from a position of the
    source, to which an attention of its own points. Only symbols of the target vocabulary can be
    copied: the positions that spell none are not pointed to.

    Args:
        dim: D.
        table: the symbol of each spelling of the front-end, below 0 for none. Shape: (spellings,).
    """

    table: Tensor

    def __init__(self, dim: int, table: Tensor) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Linear(dim, 1)
        self.register_buffer("table", table, persistent=False)

    def symbols(self, spelled: Tensor) -> Tensor:
        """Return the symbols that positions spell, below 0 for none. Shape: (T,), and back."""
        if not len(self.table):
            return torch.full_like(spelled, -1)
        return self.table[spelled.clamp(min=0)].where(spelled >= 0, -1)

    def read(self, memory: Tensor, symbols: Tensor, batch: SequenceBatch) -> CopySource:
        """Return what can be copied; computed once per source.

        Shape:
            memory (T, D); symbols (T,) int64.

        Raises:
            ValueError: if the encoder's positions are not those of the source.
        """
        if len(symbols) != len(memory):
            raise ValueError(
                f"copy needs a position of the encoder for each of the source, got {len(memory)} "
                f"for {len(symbols)}: leave out what adds positions, a virtual node or its like"
            )
        can = symbols >= 0
        counts = torch.zeros_like(batch.lengths).index_add_(0, batch.sequence_ids, can.long())
        return CopySource(self.key(memory[can]), symbols[can], counts)

    def forward(
        self, written: Tensor, logits: Tensor, sentences: Tensor, source: CopySource
    ) -> Tensor:
        """Return the logarithm of the mixed probabilities, in float32 at least.

        Args:
            written: what the decoder gave.
            logits: what the output layer made of it.
            sentences: the source of each row.
            source: what can be copied.

        Shape:
            written (N, D); logits (N, V); sentences (N,) int64. returns: (N, V).
        """
        wide = torch.promote_types(logits.dtype, torch.float32)
        rows, places = source.pairs(sentences)
        query = self.query(written) * written.shape[1] ** -0.5
        scores = (query[rows] * source.keys[places]).sum(-1).to(wide)  # (P,)
        attention = _softmax_by_row(scores, rows, len(written))
        copied = torch.zeros_like(logits, dtype=wide)
        copied = copied.index_put((rows, source.symbols[places]), attention, accumulate=True)
        writes = self.gate(written).to(wide).sigmoid()  # (N, 1)
        some = (source.counts[sentences] > 0)[:, None]
        writes = torch.where(some, writes, 1.0)
        mixed = writes * logits.to(wide).softmax(-1) + (1 - writes) * copied
        return (mixed + _TINY).log()


def make_pointer(dim: int, frontend: FrontEnd, targets: TargetSequenceVectorizer) -> Pointer:
    """Return a pointer from the positions of a fitted front-end to the symbols of the targets.

    Raises:
        ValueError: if the front-end's positions spell nothing.
    """
    spellings = frontend.spellings
    if not spellings:
        raise ValueError(
            "copy needs a front-end whose positions spell something (words or characters of text, "
            f"nodes with categories), got this {type(frontend).__name__}"
        )
    symbols = [targets.symbol(name) for name in spellings]
    return Pointer(dim, torch.tensor(symbols, dtype=torch.int64))


def _softmax_by_row(scores: Tensor, rows: Tensor, count: int) -> Tensor:
    """Return the softmax over the pairs of each row. Shape: scores, rows (P,). returns: (P,)."""
    most = scores.new_full((count,), -torch.inf)
    most = most.scatter_reduce(0, rows, scores.detach(), "amax")
    weights = (scores - most[rows]).exp()
    sums = scores.new_zeros(count).index_add(0, rows, weights)
    return weights / sums[rows]
