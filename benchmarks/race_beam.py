"""Row 4: beam search against transformers' `BartForConditionalGeneration.generate`.

The models of `race_decoder`, without dropout. A call encodes 32 sources of 15 to 20 symbols and
searches with 5 hypotheses each: once 24 symbols are forced; once END comes by a law, at a step
drawn for each source between 2 and 24, 13 in the mean. The law is a number added to the logit of
END on both sides. The best hypotheses must be the same symbols; the peer's scores must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.race import require_equal
from benchmarks.race_contest import EXACT, Contest
from benchmarks.race_decoder import (
    BEGIN,
    DEPTH,
    DIM,
    END,
    HEADS,
    INNER,
    PADDING,
    SYMBOLS,
    PackedBart,
    Sentences,
    make_pair,
)
from benchmarks.race_encoder import without_onednn
from seqattn.generation.beam import beam_search
from seqattn.layers.decoder_state import DecoderState

WIDTH, LONGEST, MEAN = 5, 24, 13
_NEVER, _NOW = -100.0, 100.0
"""What the law adds to the logit of END."""


@dataclass(frozen=True)
class Law:
    """When END comes: at the step of each sentence, counted from 1; never where there is none.

    Args:
        steps: Shape: (B,).
    """

    steps: Tensor | None

    def apply(self, logits: Tensor, sentences: Tensor, step: int) -> Tensor:
        """Add to the logits of END. Shape: logits (B W, V), sentences (B,). returns: (B W, V)."""
        if self.steps is not None:
            added = torch.where(self.steps[sentences] == step, _NOW, _NEVER)
            logits[:, END] += added.repeat_interleave(len(logits) // len(sentences))
        return logits

    @property
    def emitted(self) -> int | None:
        """Symbols of the best hypotheses together, END included."""
        return None if self.steps is None else int(self.steps.sum())


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the race of forced symbols and that of natural stops, of one source and of 32."""
    for size in (2,) if quick else (32, 1):
        sources = draw_sources(size)
        forced, natural = Law(None), Law(draw_steps(size))
        targets = (2.0, 2.8) if size == 32 else (0.0, 0.0)
        yield beam(f"4 beam, {LONGEST} forced symbols", sources, forced, targets[0])
        if size > 1:
            yield beam(f"4 beam, natural stops, mean {MEAN}", sources, natural, targets[1])


def draw_sources(count: int) -> Sentences:
    """Return sources of 15 to 20 symbols."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(15, 21, (count,), generator=generator).tolist()
    rows = [torch.randint(PADDING + 1, SYMBOLS, (n,), generator=generator) for n in lengths]
    return Sentences.of(rows)


def draw_steps(count: int) -> Tensor:
    """Return at which step END comes for each sentence: 13 in the mean, the last at 24."""
    spread = torch.linspace(2, LONGEST, count).round().long()
    return spread[torch.randperm(count, generator=torch.Generator().manual_seed(0))]


def beam(name: str, sources: Sentences, law: Law, target: float) -> Contest:
    """Return the race of a search for the best hypotheses of all sources."""
    ours, theirs = make_pair()
    ours.eval()
    theirs.eval()
    run = partial(search, ours, sources, law)
    peer = partial(generate, theirs, sources, law)
    size = len(sources.packing)
    emitted = law.emitted or size * LONGEST
    return Contest(
        name=f"{name}, {size} source{'s' * (size > 1)}",
        peer="transformers BartForConditionalGeneration.generate",
        data=describe(sources, emitted),
        compare=lambda: compare(run(), peer()),
        ours=run,
        theirs=peer,
        flops=flops(sources, law),
        target=target,
        without={"oneDNN": without_onednn(run), "dropping": undropped(ours, sources, law)},
        figures={"symbols written": emitted},
    )


def undropped(ours: PackedBart, sources: Sentences, law: Law) -> Callable[[], object]:
    """Return our search where every sentence takes all steps, as the peer's do."""
    return partial(search, ours, sources, Law(None) if law.steps is not None else law)


Found = tuple[list[list[int]], Tensor]
"""Symbols of the best hypothesis of each source, without BEGIN and END, and its score."""


def compare(ours: Found, theirs: Found) -> float:
    """Return the largest difference of the scores.

    Raises:
        ValueError: if scores or any symbol of the best hypotheses differ.
    """
    for number, (one, other) in enumerate(zip(ours[0], theirs[0], strict=True)):
        if one != other:
            raise ValueError(
                f"best hypotheses of source {number} must agree, got {one} and {other}"
            )
    return require_equal("ours and theirs", ours[1], theirs[1], LONGEST * EXACT)


class BartStepper:
    """Our model as the search asks it."""

    def __init__(self, model: PackedBart, law: Law, state: DecoderState) -> None:
        self.model, self.law, self.state = model, law, state
        self.sentences = torch.arange(state.sentences)

    def step(self, symbols: Tensor) -> Tensor:
        """Return the logits of the symbols that come next. Shape: (R,). returns: (R, V)."""
        y = self.model.decoder.step(self.model.embedding(symbols), self.state)
        return self.law.apply(self.model.logits(y), self.sentences, self.state.length)

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Keep these rows and sentences. Shape: rows (R',); sentences (B',)."""
        self.state.select(rows, sentences)
        if sentences is not None:
            self.sentences = self.sentences[sentences]


@torch.inference_mode()
def search(ours: PackedBart, sources: Sentences, law: Law) -> Found:
    """Return what our beam search finds."""
    packing = sources.packing
    memory = ours.encode(sources.packed, packing)
    state = ours.decoder.start(memory, packing.offsets, memory_packing=packing)
    found = beam_search(
        BartStepper(ours, law, state),
        torch.full((len(packing),), BEGIN),
        end=END,
        width=WIDTH,
        max_length=LONGEST,
        min_length=LONGEST if law.steps is None else 0,
    )
    best = [hypotheses[0] for hypotheses in found]
    return [one.symbols for one in best], torch.tensor([one.score for one in best])


def generate(theirs: Any, sources: Sentences, law: Law) -> Found:
    """Return what transformers' beam search finds."""
    step = 0
    sentences = torch.arange(len(sources.packing))

    def obey(_: object, __: object, logits: Tensor) -> Tensor:
        nonlocal step
        step += 1
        law.apply(logits[:, -1], sentences, step)
        return logits

    hook = theirs.lm_head.register_forward_hook(obey)
    try:
        found = theirs.generate(
            input_ids=sources.padded,
            attention_mask=sources.real.long(),
            num_beams=WIDTH,
            do_sample=False,
            length_penalty=0.0,
            max_new_tokens=LONGEST,
            min_new_tokens=LONGEST if law.steps is None else None,
            return_dict_in_generate=True,
            output_scores=True,
        )
    finally:
        hook.remove()
    rows = [_until_end(row) for row in found.sequences[:, 1:].tolist()]
    return rows, found.sequences_scores.clone()


def _until_end(row: Sequence[int]) -> list[int]:
    return list(row[: row.index(END)] if END in row else row)


def flops(sources: Sentences, law: Law) -> float:
    """Return the operations that the steps of live hypotheses and the encoder need."""
    lengths = sources.packing.lengths
    steps = [LONGEST] * len(lengths) if law.steps is None else law.steps.tolist()
    layer = 8 * DIM**2 + 4 * DIM * INNER
    total = 0
    for m, count in zip(lengths, steps, strict=True):
        total += DEPTH * m * (layer + 4 * m * DIM + 4 * DIM**2)
        for n in range(1, count + 1):
            own = DEPTH * (layer + 4 * DIM**2 + 4 * n * DIM + 4 * m * DIM) + 2 * DIM * SYMBOLS
            total += own * (WIDTH if n > 1 else 1)
    return float(total)


def describe(sources: Sentences, emitted: int) -> str:
    """Return the batch and the model in words."""
    lengths = sources.packing.lengths
    return (
        f"{len(lengths)} sources of {min(lengths)} to {max(lengths)}, beam {WIDTH}, {emitted} "
        f"symbols written; {DEPTH} + {DEPTH} layers, dim {DIM}, {HEADS} heads, {INNER} inside, "
        f"{SYMBOLS} symbols"
    )
