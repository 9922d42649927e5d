"""What a sequence head without decoder computes: classes, loss and times of symbols.

The classes are blank, 0, and the symbols of the target vectorizer that are not special.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.frontends.text_vocabulary import SPECIALS
from seqattn.generation.ctc import (
    AlignedSymbol,
    ctc_align,
    ctc_beam,
    ctc_greedy,
    require_ctc_lengths,
)
from seqattn.generation.stepper import Hypothesis
from seqattn.heads.output import Loss
from seqattn.heads.sequence_targets import TargetSequenceVectorizer
from seqattn.heads.teacher import target_rows
from seqattn.layers.decoder import Decoder

BLANK = "<blank>"

_SHIFT = len(SPECIALS) - 1

_DIGITS = 6  # of seconds and confidences that are given


def class_names(labels: Sequence[str]) -> list[str]:
    """Return the classes of the symbols of a target vectorizer."""
    return [BLANK, *labels[len(SPECIALS) :]]


def to_classes(ids: Sequence[int]) -> list[int]:
    """Return the classes of symbols; below 0 for one that training never had."""
    return [number - _SHIFT if number >= 0 else number for number in ids]


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the logarithm of the probabilities, in float32 at least. Shape: (T, V)."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def ctc_loss(logits: Tensor, frames: SequenceBatch) -> Loss:
    """Return the loss of each sequence per symbol, which weighs as many symbols as it has.

    So the mean over an optimiser step is that over all its symbols; an empty target weighs one.
    Sequences that are not labelled, or whose target has a symbol that training never had, weigh 0.

    Args:
        logits: of all frames.
        frames: the batch that they are of, with its targets.

    Shape:
        logits (T, V).

    Raises:
        ValueError: if there are no targets.
        DataError: if a labelled target is longer than its frames; names its key.
    """
    lengths = frames.packing.lengths
    counted = _counted(frames)
    rows = [to_classes(row) for row in target_rows(frames)]
    require_ctc_lengths(
        [length for length, counts in zip(lengths, counted, strict=True) if counts],
        [row for row, counts in zip(rows, counted, strict=True) if counts],
        [key for key, counts in zip(frames.keys, counted, strict=True) if counts],
    )
    used = [counts and min(row, default=0) >= 0 for row, counts in zip(rows, counted, strict=True)]
    rows = [row if uses else [] for row, uses in zip(rows, used, strict=True)]
    sizes = torch.tensor([max(1, len(row)) for row in rows], dtype=torch.float32).to(logits.device)
    losses = _negative_log_likelihood(logits, lengths, rows)
    values = losses / sizes.to(torch.promote_types(losses.dtype, sizes.dtype))  # exact above 256
    return Loss(values, sizes * torch.tensor(used, dtype=torch.bool).to(logits.device))


def mix_losses(written: Loss, heard: Loss, offsets: Tensor, weight: float) -> Loss:
    """Return (1 - weight) times a decoder's loss plus weight times CTC's, by symbol.

    Every row has the part of CTC that is its sequence's; a sequence that CTC leaves out has none.

    Args:
        written: the decoder's, by symbol.
        heard: CTC's, by sequence.
        offsets: the rows of each sequence.
        weight: of CTC.

    Shape:
        offsets (B + 1,). returns: a row per symbol, as `written`.
    """
    by_row = (heard.values * (heard.weight > 0)).repeat_interleave(offsets.diff())
    return Loss((1 - weight) * written.values + weight * by_row, written.weight)


def _counted(frames: SequenceBatch) -> list[bool]:
    found = frames.labelled_sequences
    counted: list[bool] = [True] * len(frames) if found is None else found.tolist()
    return counted


def _negative_log_likelihood(
    logits: Tensor, lengths: Sequence[int], rows: Sequence[Sequence[int]]
) -> Tensor:
    """Return the loss of each sequence (B,), that of all its paths together."""
    if not sum(lengths):  # no frame, so every target is empty
        return logits.sum() * 0 + logits.new_zeros(len(rows))
    pieces = torch.split(log_probabilities(logits), list(lengths))
    return F.ctc_loss(
        pad_sequence(list(pieces)),  # (longest, B, V)
        torch.tensor([number for row in rows for number in row], dtype=torch.int64).to(
            logits.device
        ),
        torch.tensor(lengths),
        torch.tensor([len(row) for row in rows], dtype=torch.int64),
        reduction="none",
    )


def read_frames(
    log_probs: Sequence[Tensor], keys: Sequence[str], width: int, n_best: int
) -> list[list[Hypothesis]]:
    """Return the symbols that the frames of each sequence say, the best first.

    Args:
        log_probs: of each sequence.
        keys: of the sequences.
        width: prefixes that the search keeps; 1 takes the best path.
        n_best: hypotheses of each at most.

    Shape:
        log_probs (L, V) of each.

    Raises:
        DataError: if a number is NaN or +inf; names the frame and the key.
    """
    if not log_probs:
        return []
    lengths = [len(own) for own in log_probs]
    packed = torch.cat(list(log_probs))
    if width == 1:
        found = ctc_greedy(packed, lengths, keys=keys)
    else:
        found = ctc_beam(packed, lengths, width=width, n_best=n_best, keys=keys)
    return [
        [replace(one, symbols=[number + _SHIFT for number in one.symbols]) for one in ranked]
        for ranked in found
    ]


def add_words(
    described: Sequence[Sequence[dict[str, Any]]],
    found: Sequence[Sequence[Hypothesis]],
    frames: Sequence[Tensor],
    vectorizer: TargetSequenceVectorizer,
    seconds: float,
) -> None:
    """Add to each description its ``words``, as [start, end, word, confidence].

    Start and end are in seconds. The confidence, 0 … 1, is the mean of the word's symbols', which
    are the mean probabilities in their frames.

    Args:
        described: of the hypotheses of each sequence.
        found: these hypotheses.
        frames: log-probabilities of the classes.
        vectorizer: tells the words of symbols.
        seconds: what a frame covers.

    Shape:
        frames (L, V) of each sequence.
    """
    for rows, ranked, own in zip(described, found, frames, strict=True):
        for row, one in zip(rows, ranked, strict=True):
            (aligned,) = ctc_align(own, [len(own)], [to_classes(one.symbols)])
            row["words"] = [
                _describe(word, aligned[first : last + 1], seconds)
                for word, first, last in vectorizer.words(one.symbols)
            ]


def _describe(word: str, symbols: Sequence[AlignedSymbol], seconds: float) -> list[Any]:
    confidence = sum(symbol.confidence for symbol in symbols) / len(symbols)
    start, end = symbols[0].first * seconds, (symbols[-1].last + 1) * seconds
    return [round(start, _DIGITS), round(end, _DIGITS), word, round(confidence, _DIGITS)]


def output_seconds(frontend: FrontEnd, decoder: Decoder | None) -> float:
    """Return what a position of the encoder covers, in seconds.

    Raises:
        ValueError: if no one knows, or a decoder writes symbols at no time.
    """
    seconds: float | None = getattr(frontend, "output_seconds", None)
    if decoder is not None or seconds is None:
        raise ValueError(
            "times need decoder=None and a front-end whose positions have times (sound), got "
            f"{type(frontend).__name__} and decoder={decoder and type(decoder).__name__}"
        )
    return seconds
