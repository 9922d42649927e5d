"""Connectionist temporal classification: decoding and alignment (Graves et al. 2006).

Every frame says one symbol or blank. A path of frames spells the sequence that remains when
repeated symbols are joined and blanks removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.errors import DataError
from seqattn.generation.stepper import Hypothesis, in_full_precision


@dataclass(frozen=True)
class AlignedSymbol:
    """Where one symbol of a target is said.

    Args:
        symbol: its id.
        first: its first frame, counted from the sequence's own.
        last: its last frame.
        confidence: mean probability of the symbol in these frames, 0 … 1.
    """

    symbol: int
    first: int
    last: int
    confidence: float


def ctc_greedy(
    log_probs: Tensor,
    lengths: Sequence[int],
    blank: int = 0,
    *,
    keys: Sequence[str] | None = None,
) -> list[list[Hypothesis]]:
    """Return what the best path of each sequence spells; its score is the path's.

    Args:
        log_probs: of B sequences, packed.
        lengths: frames of each.
        blank: id of the blank.
        keys: of the sequences, for error messages.

    Shape:
        log_probs (T, V).

    Raises:
        ValueError: if the shapes do not fit.
        DataError: if a number is NaN or +inf; names the frame and the sequence.
    """
    _check(log_probs, lengths, blank, keys)
    best, ids = log_probs.max(-1)  # (T,)
    found = []
    for scores, path in zip(
        *(torch.split(part, list(lengths)) for part in (best, ids)), strict=True
    ):
        spelt = path.unique_consecutive()
        score = float(in_full_precision(scores).sum())
        found.append([Hypothesis(spelt[spelt != blank].tolist(), score, finished=True)])
    return found


def ctc_beam(
    log_probs: Tensor,
    lengths: Sequence[int],
    blank: int = 0,
    *,
    width: int,
    n_best: int = 1,
    keys: Sequence[str] | None = None,
) -> list[list[Hypothesis]]:
    """Return the likeliest sequences, each by all its paths that the beam has kept.

    Prefix beam search (Hannun et al. 2014, algorithm 1), without a language model.

    Args:
        log_probs: of B sequences, packed.
        lengths: frames of each.
        blank: id of the blank.
        width: W, prefixes kept.
        n_best: hypotheses given for each sequence at most, the best first.
        keys: of the sequences, for error messages.

    Shape:
        log_probs (T, V).

    Raises:
        ValueError: if the shapes do not fit or a setting is out of its range.
        DataError: if a number is NaN or +inf; names the frame and the sequence.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not 1 <= n_best <= width:
        raise ValueError(f"n_best must lie in 1 … width = {width}, got {n_best}")
    _check(log_probs, lengths, blank, keys)
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    frames = _pad(in_full_precision(log_probs), lengths, order)  # (B, longest, V)
    beams = _Prefixes(len(lengths), width, blank, frames)
    found: list[list[Hypothesis]] = [[] for _ in lengths]
    for step in range(frames.shape[1] + 1):
        while order and lengths[order[-1]] == step:  # the shortest are the last
            found[order.pop()] = beams.pop(n_best)
        if order:
            beams.read(frames[: len(order), step])
    return found


class _Prefixes:
    """W prefixes of B sequences, with the probability of all paths read that spell each.

    A path that ends in a blank is kept apart from one that ends in the prefix's last symbol: what
    comes next may only repeat the symbol after a blank.
    """

    def __init__(self, size: int, width: int, blank: int, like: Tensor) -> None:
        self.blank = blank
        self.text = torch.full((size, width, 0), -1, dtype=torch.int64, device=like.device)
        self.length = self.text.new_zeros(size, width)
        self.last = self.text.new_full((size, width), blank)
        self.after_blank = like.new_full((size, width), -torch.inf)
        self.after_blank[:, 0] = 0
        self.after_symbol = like.new_full((size, width), -torch.inf)

    @property
    def total(self) -> Tensor:
        """Logarithm of each prefix's probability (B, W)."""
        return torch.logaddexp(self.after_blank, self.after_symbol)

    def read(self, frame: Tensor) -> None:
        """Go on by one frame (B, V)."""
        width, count = self.last.shape[1], frame.shape[1]
        total = self.total
        after_blank = total + frame[:, self.blank, None]
        after_symbol = self.after_symbol + frame.gather(1, self.last)
        after_symbol = after_symbol.masked_fill(self.length == 0, -torch.inf)
        longer = total[:, :, None] + frame[:, None]  # (B, W, V)
        repeated = self.after_blank + frame.gather(1, self.last)
        longer = longer.scatter(2, self.last[:, :, None], repeated[:, :, None])
        longer[:, :, self.blank] = -torch.inf
        after_symbol, longer = self._join(after_symbol, longer)
        stays = torch.logaddexp(after_blank, after_symbol)
        scores = torch.cat([stays, longer.flatten(1)], 1)  # (B, W + W V)
        best, places = scores.topk(width)
        self._keep(places, best, after_blank, after_symbol, count)

    def _join(self, after_symbol: Tensor, longer: Tensor) -> tuple[Tensor, Tensor]:
        """Add to each prefix what its own parent, if it is kept too, extends to it."""
        alive = self.total > -torch.inf
        ends = (
            torch.arange(self.text.shape[2], device=self.text.device) == self.length[..., None] - 1
        )
        parents = self.text.masked_fill(ends, -1)  # (B, W, L): each prefix without its last symbol
        is_parent = (parents[:, :, None] == self.text[:, None]).all(-1)  # (B, child, parent)
        is_parent &= (self.length > 0)[:, :, None] & alive[:, :, None] & alive[:, None]
        child_last = self.last[:, None].expand(-1, longer.shape[1], -1)  # (B, parent, child)
        gained = longer.gather(2, child_last).transpose(1, 2)  # (B, child, parent)
        gained = gained.masked_fill(~is_parent, -torch.inf)
        taken = torch.zeros_like(longer, dtype=torch.bool)
        sentence, child, parent = is_parent.nonzero(as_tuple=True)
        taken[sentence, parent, self.last[sentence, child]] = True
        joined = torch.logaddexp(after_symbol, gained.logsumexp(-1))
        return joined, longer.masked_fill(taken, -torch.inf)

    def _keep(
        self,
        places: Tensor,
        best: Tensor,
        after_blank: Tensor,
        after_symbol: Tensor,
        count: int,
    ) -> None:
        """Make the W best of all prefixes, as they were or one symbol longer, the new ones."""
        width = self.last.shape[1]
        stays = places < width
        parent = torch.where(stays, places, (places - width) // count)
        symbol = torch.where(stays, self.last.gather(1, parent), (places - width) % count)
        self.after_blank = after_blank.gather(1, parent).masked_fill(~stays, -torch.inf)
        self.after_symbol = torch.where(stays, after_symbol.gather(1, parent), best)
        length = self.length.gather(1, parent)
        text = self.text.gather(1, parent[:, :, None].expand(-1, -1, self.text.shape[2]))
        text = F.pad(text, (0, 1), value=-1)  # (B, W, L + 1)
        written = torch.where(stays, text.gather(2, length[..., None])[..., 0], symbol)
        text = text.scatter(2, length[..., None], written[..., None])
        self.length = length + (~stays).long()
        self.last = symbol
        self.text = text[:, :, : int(self.length.max())]

    def pop(self, n_best: int) -> list[Hypothesis]:
        """Take the last sequence out and return its best prefixes."""
        scores, places = self.total[-1].sort(descending=True, stable=True)
        best = [
            Hypothesis(self.text[-1, place, : int(self.length[-1, place])].tolist(), score, True)
            for score, place in zip(scores[:n_best].tolist(), places.tolist(), strict=False)
            if score > -torch.inf
        ]
        for name in ("text", "length", "last", "after_blank", "after_symbol"):
            setattr(self, name, getattr(self, name)[:-1])
        return best


def ctc_align(
    log_probs: Tensor,
    lengths: Sequence[int],
    targets: Sequence[Sequence[int]],
    blank: int = 0,
    *,
    keys: Sequence[str] | None = None,
) -> list[list[AlignedSymbol]]:
    """Return where each symbol of each target is said, on the likeliest path that spells it.

    Args:
        log_probs: of B sequences, packed.
        lengths: frames of each.
        targets: the symbols of each, without blanks.
        blank: id of the blank.
        keys: of the sequences, for error messages.

    Shape:
        log_probs (T, V).

    Raises:
        ValueError: if the shapes do not fit.
        DataError: if a target is longer than its frames, or a number is NaN or +inf.
    """
    _check(log_probs, lengths, blank, keys)
    require_ctc_lengths(lengths, targets, keys)
    found = []
    pieces = torch.split(in_full_precision(log_probs), list(lengths))
    for number, (piece, target) in enumerate(zip(pieces, targets, strict=True)):
        path = _align(piece, target, blank)
        if path is None:
            rule = "a target must have a path of probability above 0, got none"
            raise DataError(rule, key=_key(number, keys))
        found.append(_runs(piece, target, path))
    return found


def require_ctc_lengths(
    lengths: Sequence[int], targets: Sequence[Sequence[int]], keys: Sequence[str] | None = None
) -> None:
    """Check that every target has frames enough: one per symbol, and one between two equal ones.

    Raises:
        ValueError: if there is not one target for each length.
        DataError: if a target is longer; with its key.
    """
    if len(targets) != len(lengths):
        raise ValueError(f"targets must be one per length ({len(lengths)}), got {len(targets)}")
    for number, (length, target) in enumerate(zip(lengths, targets, strict=True)):
        repeats = sum(one == other for one, other in zip(target, target[1:], strict=False))
        if len(target) + repeats > length:
            raise DataError(
                "a target must not be longer than its frames, each repeated symbol counted twice, "
                f"got {len(target)} symbols and {repeats} repeated for {length} frames",
                key=_key(number, keys),
            )


def _key(number: int, keys: Sequence[str] | None) -> str:
    return str(number) if keys is None else keys[number]


def _align(log_probs: Tensor, target: Sequence[int], blank: int) -> list[int] | None:
    """Return the state of each frame on the best path: 2 i + 1 says symbol i, even ones blank."""
    states = [blank] * (2 * len(target) + 1)
    states[1::2] = target
    frames = log_probs[:, states]  # (T, S)
    skips = [False] * len(states)  # from a symbol to the next one, over the blank
    for state in range(3, len(states), 2):
        skips[state] = states[state] != states[state - 2]
    may_skip = torch.tensor(skips, device=log_probs.device)
    score = frames.new_full((len(states),), -torch.inf)
    score[0] = 0  # before the first frame, from which it may stay or go on by one
    steps = []
    for frame in frames:
        one = F.pad(score, (1, 0), value=-torch.inf)[:-1]
        two = F.pad(score, (2, 0), value=-torch.inf)[:-2].masked_fill(~may_skip, -torch.inf)
        score, step = torch.stack([score, one, two]).max(0)
        score = score + frame
        steps.append(step)
    if not steps:
        return []
    taken = torch.stack(steps).tolist()
    state = len(states) - 1
    if len(states) > 1 and score[-2] > score[-1]:
        state -= 1
    if score[state] == -torch.inf:
        return None
    path = []
    for step in reversed(taken):
        path.append(state)
        state -= step[state]
    return path[::-1]


def _runs(log_probs: Tensor, target: Sequence[int], path: Sequence[int]) -> list[AlignedSymbol]:
    """Return the first and last frame of each symbol, and how sure the frames are of it."""
    frames: list[list[int]] = [[] for _ in target]
    for frame, state in enumerate(path):
        if state % 2:
            frames[state // 2].append(frame)
    return [
        AlignedSymbol(symbol, own[0], own[-1], float(log_probs[own, symbol].exp().mean()))
        for symbol, own in zip(target, frames, strict=True)
    ]


def _pad(log_probs: Tensor, lengths: Sequence[int], order: Sequence[int]) -> Tensor:
    """Return the sequences in this order, the longest first, as (B, longest, V)."""
    if not order:
        return log_probs.new_empty(0, 0, log_probs.shape[1])
    pieces = torch.split(log_probs, list(lengths))
    return torch.nn.utils.rnn.pad_sequence([pieces[number] for number in order], batch_first=True)


def _check(
    log_probs: Tensor, lengths: Sequence[int], blank: int, keys: Sequence[str] | None
) -> None:
    if log_probs.dim() != 2:
        raise ValueError(f"log_probs must have shape (T, V), got {tuple(log_probs.shape)}")
    if sum(lengths) != len(log_probs):
        raise ValueError(f"lengths must add up to T = {len(log_probs)}, got {sum(lengths)}")
    if not 0 <= blank < log_probs.shape[1]:
        raise ValueError(f"blank must lie in 0 … {log_probs.shape[1] - 1}, got {blank}")
    wrong = ~(log_probs.amax(1) < torch.inf)  # NaN is not below it
    if bool(wrong.any()):
        frame = int(wrong.nonzero()[0, 0])
        number = 0
        while frame >= lengths[number]:
            frame, number = frame - lengths[number], number + 1
        rule = f"log_probs must be finite, got NaN or inf at frame {frame}"
        raise DataError(rule, key=_key(number, keys))
