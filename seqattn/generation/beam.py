"""Beam search over a step function that names no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.generation.stepper import (
    Hypothesis,
    Limits,
    Stepper,
    normalise,
)


@torch.no_grad()
def beam_search(
    stepper: Stepper,
    begin: Tensor,
    *,
    end: int,
    width: int,
    max_length: int | Tensor,
    min_length: int = 0,
    length_penalty: float = 0.0,
    n_best: int = 1,
    banned: Sequence[int] = (),
    keys: Sequence[str] | None = None,
) -> list[list[Hypothesis]]:
    """Return the best hypotheses of each sentence, the best first, finished ones before others.

    Every step keeps the W best hypotheses that go on; one ends where END is among the W best of
    the 2 W candidates, so that a beam of 1 is greedy. The score of a hypothesis is
    ``log_probability / length ** length_penalty`` (Jean et al. 2015), END counted in the length.

    A sentence stops, and leaves the batch, when no live hypothesis, scored at its present length,
    is better than the worst one kept. Without a length penalty, or with a negative one, `n_best`
    are kept and the rule is exact: a hypothesis only gets worse. With a positive one a longer
    hypothesis might still get better; W are kept, and the best does not depend on `n_best`.

    Args:
        stepper: the model, with one row per sentence.
        begin: first symbol that each sentence reads. Shape: (B,) int64.
        end: the symbol that ends a hypothesis; may be the one that begins it.
        width: W, hypotheses per sentence.
        max_length: symbols written at most, END among them; of all or of each sentence (B,). Who
            gets there without END is not finished.
        min_length: symbols at least, END not among them.
        length_penalty: above 0 favours longer, below 0 shorter hypotheses.
        n_best: hypotheses given for each sentence at most.
        banned: symbols never written. Scores remain the model's.
        keys: of the sentences, for error messages.

    Raises:
        ValueError: if a setting is out of its range, or `width` larger than the vocabulary.
        DataError: if a logit is NaN or +inf; names step and sentence.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not 1 <= n_best <= width:
        raise ValueError(f"n_best must lie in 1 … width = {width}, got {n_best}")
    limits = Limits.of(begin, end, max_length, min_length, banned, keys)
    search = _Search(limits, begin, width, length_penalty, n_best)
    while search.live:
        search.advance(stepper)
    return search.found


class _Search:
    """The hypotheses of one call: B live sentences with W rows each, one before the first step."""

    def __init__(
        self, limits: Limits, begin: Tensor, width: int, length_penalty: float, n_best: int
    ) -> None:
        self.limits = limits
        self.width = width
        self.length_penalty = length_penalty
        self.n_best = n_best
        self.capacity = width if length_penalty > 0 else n_best
        self.found: list[list[Hypothesis]] = [[] for _ in begin]
        self.live = list(range(len(begin)))  # the number of each live sentence
        self.step = 0
        self.symbols = begin  # (R,), read next
        self.written = begin.new_empty(len(begin), 0)  # (R, step)
        self.scores: Tensor | None = None  # (R,)

    def advance(self, stepper: Stepper) -> None:
        """Write one symbol more."""
        scores, rows, symbols = self._candidates(stepper.step(self.symbols))
        is_end = symbols == self.limits.end  # (B, 2 W)
        self._finish(scores, rows, is_end)
        scores, places = scores.masked_fill(is_end, -torch.inf).topk(self.width)  # (B, W)
        rows, symbols = rows.gather(1, places), symbols.gather(1, places)
        self.step += 1
        places_left = self._places_left(scores[:, 0].tolist())
        sentences = None
        stopped = sorted(set(range(len(self.live))) - set(places_left))
        if stopped:
            self._give_up(stopped, scores, rows, symbols)
            sentences = rows.new_tensor(places_left)
            scores, rows, symbols = (
                part.index_select(0, sentences) for part in (scores, rows, symbols)
            )
            self.live = [self.live[place] for place in places_left]
        if self.live:
            self._go_on(stepper, scores, rows, symbols, sentences)

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score, row and symbol of the 2 W best continuations of each sentence (B, 2 W)."""
        _require_width(self.width, logits.shape[1])
        hidden = self.limits.hidden(self.step)
        log_probs = self.limits.log_probs(logits, self.live, self.step)
        count = min(2 * self.width + len(hidden), logits.shape[1])
        scores, symbols = log_probs.topk(count)  # (R, count)
        if self.scores is not None:
            scores = scores + self.scores[:, None]
        if len(hidden):
            scores = scores.masked_fill(torch.isin(symbols, hidden), -torch.inf)
        size = len(self.live)
        scores, symbols = scores.view(size, -1), symbols.view(size, -1)  # (B, W count)
        scores, places = scores.topk(min(2 * self.width, scores.shape[1]))
        first = torch.arange(0, len(logits), len(logits) // size, device=logits.device)
        parts = scores, places // count + first[:, None], symbols.gather(1, places)
        missing = 2 * self.width - scores.shape[1]
        if missing:
            padding = (-torch.inf, 0, 0)
            scores, rows, symbols = (
                F.pad(part, (0, missing), value=value)
                for part, value in zip(parts, padding, strict=True)
            )
            return scores, torch.maximum(rows, first[:, None]), symbols
        return parts

    def _finish(self, scores: Tensor, rows: Tensor, is_end: Tensor) -> None:
        """Keep the hypotheses that end now."""
        ends = (is_end & (scores > -torch.inf))[:, : self.width]
        places = ends.nonzero()[:, 0].tolist()
        if not places:
            return
        written = self.written.index_select(0, rows[:, : self.width][ends]).tolist()
        ended = scores[:, : self.width][ends].tolist()
        for place, symbols, score in zip(places, written, ended, strict=True):
            score = normalise(score, self.step + 1, self.length_penalty)
            kept = self.found[self.live[place]]
            kept.append(Hypothesis(symbols, score, finished=True))
            kept.sort(key=lambda hypothesis: -hypothesis.score)
            del kept[self.capacity :]

    def _places_left(self, best: list[float]) -> list[int]:
        """Return the places of the sentences that go on, given the best live score of each."""
        return [
            place
            for place, (number, score) in enumerate(zip(self.live, best, strict=True))
            if self.step < self.limits.max_lengths[number] and self._may_improve(number, score)
        ]

    def _may_improve(self, number: int, best: float) -> bool:
        kept = self.found[number]
        if len(kept) < self.capacity:
            return best > -torch.inf
        return kept[-1].score < normalise(best, self.step, self.length_penalty)

    def _give_up(
        self, places: Sequence[int], scores: Tensor, rows: Tensor, symbols: Tensor
    ) -> None:
        """Close sentences; their live hypotheses fill up what is missing of `n_best`."""
        for place in places:
            number = self.live[place]
            kept = self.found[number]
            missing = self.n_best - len(kept)
            if missing <= 0:
                del kept[self.n_best :]
                continue
            best = scores[place, :missing].tolist()
            last = symbols[place, :missing, None]
            written = torch.cat([self.written[rows[place, :missing]], last], 1).tolist()
            kept += [
                Hypothesis(text, normalise(score, self.step, self.length_penalty), finished=False)
                for text, score in zip(written, best, strict=True)
                if score > -torch.inf
            ]

    def _go_on(
        self,
        stepper: Stepper,
        scores: Tensor,
        rows: Tensor,
        symbols: Tensor,
        sentences: Tensor | None,
    ) -> None:
        """Make the chosen continuations (B, W) the rows of the next step."""
        rows, self.symbols, self.scores = rows.flatten(), symbols.flatten(), scores.flatten()
        written = self.written.index_select(0, rows)
        self.written = torch.cat([written, self.symbols[:, None]], 1)  # (R, step)
        if self.width > 1 or sentences is not None:
            stepper.select(rows, sentences)


def _require_width(width: int, size: int) -> None:
    if width > size:
        raise ValueError(f"width must be at most the vocabulary's size, {size}, got {width}")
