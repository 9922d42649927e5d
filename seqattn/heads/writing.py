"""Outputs that a decoder writes, symbol by symbol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.generation.beam import beam_search
from seqattn.generation.sampling import greedy_search, sample
from seqattn.generation.stepper import Hypothesis
from seqattn.heads.base import LayerChoice
from seqattn.heads.decode_settings import DecodeSettings
from seqattn.heads.output import Output
from seqattn.heads.pointer import CopySource, Pointer
from seqattn.heads.sequence_targets import TargetSequenceVectorizer
from seqattn.layers.decoder import Decoder
from seqattn.layers.decoder_state import DecoderState
from seqattn.layers.encoder import Encoder
from seqattn.seeds import derive_seed

NOTHING = Hypothesis([], -math.inf, finished=False)
"""What is written where no symbol may be."""


def require_decoder(
    decoder: Decoder | None,
    encoder: Encoder,
    layer: LayerChoice,
    *,
    ctc_weight: float = 0.0,
    copy: bool = False,
) -> None:
    """Check that a decoder can read what the encoder gives and writes symbol by symbol; connect it.

    Raises:
        TypeError: if it is none.
        ValueError: if it does not fit the encoder, or what else is chosen of its layers; if
            `ctc_weight` is no share, or it or `copy` is given without a decoder.
    """
    if not 0 <= ctc_weight < 1:
        raise ValueError(f"ctc_weight must lie in 0 … 1, 1 excluded, got {ctc_weight}")
    if decoder is None:
        if ctc_weight or copy:
            raise ValueError(
                f"ctc_weight and copy need a decoder, got None with {ctc_weight} and {copy}"
            )
        return
    if not isinstance(decoder, Decoder):
        raise TypeError(f"decoder must be a Decoder or None, got {type(decoder).__name__}")
    if decoder.dim != encoder.dim:
        raise ValueError(
            f"dim must be the same for encoder and decoder, got {encoder.dim} and {decoder.dim}"
        )
    if not decoder.autoregressive:
        raise ValueError("seq2seq needs a decoder with autoregressive=True, got False")
    if decoder.needs_layers and layer != "last":
        raise ValueError(
            "layer must be 'last' where the decoder chooses the layers that it reads "
            f"(memory_layers={decoder.memory_layers!r}), got {layer!r}"
        )
    decoder.connect(len(encoder.layers))


def describe(one: Hypothesis, vectorizer: TargetSequenceVectorizer) -> dict[str, Any]:
    """Return a hypothesis as plain data, its output as the training targets were."""
    output = vectorizer.decode(one.symbols)
    return {"output": output, "score": one.score, "finished": one.finished}


class DecoderStepper:
    """The step function of one search: a decoder between its embedding and its output layer.

    Args:
        decoder: the decoder.
        embedding: symbols (R,) to vectors (R, D).
        output: vectors (R, D) to logits (R, V).
        state: what the decoder remembers.
        pointer: copies symbols of the source, where there is one.
        source: what it can copy.
    """

    def __init__(
        self,
        decoder: Decoder,
        embedding: nn.Module,
        output: nn.Module,
        state: DecoderState,
        pointer: Pointer | None = None,
        source: CopySource | None = None,
    ) -> None:
        self.decoder = decoder
        self.embedding = embedding
        self.output = output
        self.state = state
        self.pointer = pointer
        self.source = source

    def step(self, symbols: Tensor) -> Tensor:
        """Return the logits of the symbols that come next. Shape: (R,). returns: (R, V)."""
        written = self.decoder.step(self.embedding(symbols), self.state)
        logits: Tensor = self.output(written)
        if self.pointer is None or self.source is None:
            return logits
        rows = [self.state.width] * self.state.sentences
        mixed: Tensor = self.pointer(written, logits, rows, self.source)
        return mixed

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Keep these rows and sentences. Shape: rows (R',); sentences (B',)."""
        self.state.select(rows, sentences)
        if self.source is not None and sentences is not None:
            self.source = self.source.select(sentences)


class Writer:
    """Writes outputs with a decoder between its embedding and its output layer.

    Args:
        decoder: the decoder.
        embedding: symbols (R,) to vectors (R, D).
        output: vectors (R, D) to logits (R, V).
        vectorizer: knows BEGIN, END and what is never written.
        pointer: copies symbols of the source, where there is one.
    """

    def __init__(
        self,
        decoder: Decoder,
        embedding: nn.Module,
        output: nn.Module,
        vectorizer: TargetSequenceVectorizer,
        pointer: Pointer | None = None,
    ) -> None:
        self.decoder = decoder
        self.embedding = embedding
        self.output = output
        self.vectorizer = vectorizer
        self.pointer = pointer

    def write(
        self,
        encoded: Output,
        batch: SequenceBatch,
        settings: DecodeSettings,
        chosen: Sequence[int],
        *,
        n_best: int = 1,
        seed: int = 0,
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of the chosen sequences, at least one each, the best first.

        Args:
            encoded: what the encoder gave; its extras may hold its ``layers``, and the symbols
                that can be ``copied``.
            batch: what it was given.
            settings: how to search.
            chosen: places of the sequences.
            n_best: hypotheses of each at most.
            seed: of the drawing; with a sequence's key it decides what is drawn.

        Raises:
            DataError: if a score is not finite; names step and example.
            ValueError: if the width is larger than the vocabulary.
        """
        if not chosen:
            return []
        layers = encoded.extras.get("layers")
        memory = encoded.hidden if layers is None else list(layers)
        state = self.decoder.start(memory, batch.offsets, memory_packing=batch.packing)
        source = None
        if self.pointer is not None:
            source = self.pointer.read(
                encoded.hidden, encoded.extras["copied"], batch.packing.lengths
            )
        stepper = DecoderStepper(
            self.decoder, self.embedding, self.output, state, self.pointer, source
        )
        if len(chosen) < len(batch):
            rows = batch.offsets.new_tensor(chosen)
            stepper.select(rows, rows)
        limits = settings.limits(
            [batch.packing.lengths[place] for place in chosen], self.decoder.max_positions
        )
        keys = [batch.keys[place] for place in chosen]
        found = self._search(stepper, settings, limits, keys, n_best, seed)
        return [ranked or [NOTHING] for ranked in found]

    def _search(
        self,
        stepper: DecoderStepper,
        settings: DecodeSettings,
        limits: Tensor,
        keys: Sequence[str],
        n_best: int,
        seed: int,
    ) -> list[list[Hypothesis]]:
        device = next(self.output.parameters()).device
        begin = torch.full((len(keys),), self.vectorizer.begin_id, device=device)
        common: dict[str, Any] = {
            "end": self.vectorizer.end_id,
            "max_length": limits,
            "min_length": settings.min_length,
            "banned": self.vectorizer.banned,
            "keys": keys,
        }
        if settings.temperature:
            return sample(
                stepper,
                begin,
                temperature=settings.temperature,
                top_k=settings.top_k,
                top_p=settings.top_p,
                generators=[
                    torch.Generator(device).manual_seed(derive_seed(seed, key)) for key in keys
                ],
                **common,
            )
        if settings.width == 1:
            return greedy_search(stepper, begin, **common)
        penalty, width = settings.length_penalty, settings.width
        return beam_search(
            stepper, begin, width=width, length_penalty=penalty, n_best=n_best, **common
        )
