"""Continuing prompts step by step with a causal encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from torch import Tensor

from seqattn.batch import SequenceBatch
from seqattn.layers.encoder import Encoder

Embed = Callable[[Tensor], Tensor]
"""Symbols (R,) to the encoder's vectors (R, D)."""


class PromptStepper:
    """A :class:`Stepper` that reads prompts, then the symbols it is given.

    A prompt's positions are read as the front-end left them, since a symbol may not say all of
    them: a word that is unknown, say, has characters.

    Args:
        encoder: with causal patterns only.
        embed: the front-end, for symbols that were written.
        output: from the encoder's vectors to logits.
        prompts: the prompts, as the front-end left them.
        places: which of them; all by default.
    """

    def __init__(
        self,
        encoder: Encoder,
        embed: Embed,
        output: Callable[[Tensor], Tensor],
        prompts: SequenceBatch,
        places: Tensor | None = None,
    ) -> None:
        self.encoder, self.embed, self.output = encoder, embed, output
        self.values = prompts.values
        self.starts, self.lengths = prompts.offsets[:-1], prompts.lengths
        if places is not None:
            self.starts, self.lengths = self.starts[places], self.lengths[places]
        self.state = encoder.start(len(self.starts))

    def step(self, symbols: Tensor) -> Tensor:
        """Read the next position of each row, of its prompt where that has not ended yet.

        Shape:
            symbols (R,) int64. returns: (R, V).
        """
        is_prompt = (self.state.length < self.lengths)[:, None]
        here = (self.starts + self.state.length).clamp(max=len(self.values) - 1)
        x = self.embed(symbols)
        x = self.values[here].where(is_prompt, x)  # (R, D)
        return self.output(self.encoder.step(x, self.state))

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Keep these rows, in this order, repeated or not. Shape: rows (R',) int64."""
        self.state.select(rows)
        self.starts = self.starts.index_select(0, rows)
        self.lengths = self.lengths.index_select(0, rows)


def equally_long(prompts: SequenceBatch) -> Iterator[tuple[int, list[int]]]:
    """Yield each length of prompts, with the places of those that have it."""
    lengths = prompts.packing.lengths
    places = sorted(range(len(lengths)), key=lambda place: lengths[place])
    for length, group in groupby(places, key=lambda place: lengths[place]):
        yield length, list(group)
