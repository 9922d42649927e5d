"""Copies symbols of the source into what a decoder writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seqattn.frontends.base import FrontEnd
from seqattn.heads.sequence_targets import TargetSequenceVectorizer

_TINY = 1e-20  # probability of copying what is not there, so that its logarithm is finite


@dataclass
class CopySource:
    """What can be copied of B sources, filled up to the longest.

    Args:
        keys: what the pointer compares. Shape: (B, S, D).
        symbols: what is written where a position is copied, below 0 for none. Shape: (B, S) int64.
    """

    keys: Tensor
    symbols: Tensor

    def select(self, sentences: Tensor) -> CopySource:
        """Return the sources that remain. Shape: sentences (B',) int64."""
        return CopySource(self.keys[sentences], self.symbols[sentences])


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

    def read(self, memory: Tensor, symbols: Tensor, lengths: Sequence[int]) -> CopySource:
        """Return what can be copied; computed once per source.

        Args:
            memory: the encoder's vectors.
            symbols: what their positions spell.
            lengths: of the sources.

        Shape:
            memory (T, D); symbols (T,) int64.

        Raises:
            ValueError: if the encoder's positions are not those of the source.
        """
        if len(symbols) != len(memory):
            raise ValueError(
                "copy needs a position of the encoder for each of the source, got "
                f"{len(memory)} for {len(symbols)}"
            )
        return CopySource(_fill(self.key(memory), lengths), _fill(symbols, lengths, -1))

    def forward(
        self, written: Tensor, logits: Tensor, lengths: Sequence[int], source: CopySource
    ) -> Tensor:
        """Return the logarithm of the mixed probabilities, in float32 at least.

        Where nothing can be copied they are those of the vocabulary.

        Args:
            written: what the decoder gave, the rows of each source after another.
            logits: what the output layer made of it.
            lengths: how many rows each source has.
            source: what can be copied.

        Shape:
            written (N, D); logits (N, V). returns: (N, V).
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        writes: Tensor = logits.log_softmax(-1)  # (N, V)
        query, gate = self.query(written), self.gate(written).to(logits.dtype)
        if not len(written) or not source.symbols.numel():
            unused: Tensor = query.sum() + gate.sum() + source.keys.sum()
            return writes + 0 * unused  # every weight has a gradient
        can = (source.symbols >= 0)[:, None]  # (B, 1, S)
        scores = _fill(query, lengths) @ source.keys.mT * written.shape[1] ** -0.5
        scores = scores.to(logits.dtype).masked_fill(~can, torch.finfo(logits.dtype).min)
        attention = scores.softmax(-1) * can  # (B, L, S)
        places = source.symbols.clamp(min=0)[:, None].expand_as(attention)
        copied = attention.new_zeros(*attention.shape[:2], logits.shape[1])
        copied = _cut(copied.scatter_add(2, places, attention), lengths)  # (N, V)
        some = _cut(can.any(-1).expand(attention.shape[:2]), lengths)[:, None]  # (N, 1)
        mixed = torch.logaddexp(
            F.logsigmoid(gate) + writes, F.logsigmoid(-gate) + (copied + _TINY).log()
        )
        return torch.where(some, mixed, writes)


def make_pointer(dim: int, frontend: FrontEnd, targets: TargetSequenceVectorizer) -> Pointer:
    """Return a pointer from the positions of a fitted front-end to the symbols of the targets.

    Raises:
        ValueError: if the front-end's positions spell nothing, or nothing that is a target.
    """
    spellings = frontend.spellings
    if not spellings:
        raise ValueError(
            "copy needs a front-end whose positions spell something (words or characters of text, "
            f"nodes with categories and no virtual node), got this {type(frontend).__name__}"
        )
    symbols = [targets.symbol(name) for name in spellings]
    if max(symbols) < 0:
        raise ValueError(
            "copy needs a symbol that both sources and targets have, got none: look at units, "
            "lowercase and min_count of both"
        )
    return Pointer(dim, torch.tensor(symbols, dtype=torch.int64))


def _fill(x: Tensor, lengths: Sequence[int], value: float = 0.0) -> Tensor:
    """Return packed rows (T, …) as (B, longest, …)."""
    if not len(lengths):
        return x[None, :0].expand(0, *x[:0].shape)
    return pad_sequence(list(torch.split(x, list(lengths))), True, value)


def _cut(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return what :func:`_fill` filled as packed rows."""
    return torch.cat([one[:length] for one, length in zip(x, lengths, strict=True)])
