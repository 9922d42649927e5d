"""A new sequence from a sequence: written by a decoder, or read off the encoder's positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.frontends.text_layers import LearnedSymbols
from seqattn.generation.stepper import Hypothesis
from seqattn.heads.base import LayerChoice, Monitor, require_parts
from seqattn.heads.ctc import (
    add_words,
    class_names,
    ctc_loss,
    log_probabilities,
    mix_losses,
    output_seconds,
    read_frames,
)
from seqattn.heads.decode_settings import DecodeSettings
from seqattn.heads.output import Loss, Output, cross_entropy
from seqattn.heads.pointer import Pointer, make_pointer
from seqattn.heads.run import validation_share
from seqattn.heads.sequence_metrics import (
    choose_examples,
    make_sequence_metrics,
    require_metrics,
    require_monitor,
    update_sequence_metrics,
)
from seqattn.heads.sequence_prediction import SequencePrediction
from seqattn.heads.sequence_targets import TargetSequenceVectorizer, TargetUnits
from seqattn.heads.targets import Unseen
from seqattn.heads.teacher import TeacherForcing
from seqattn.heads.writing import Writer, describe, require_decoder
from seqattn.layers.decoder import Decoder, Memory
from seqattn.layers.dropout import Dropout
from seqattn.layers.encoder import Encoder
from seqattn.optim import Schedule


class Seq2Seq(SequencePrediction):
    """Writes a sequence of symbols for every source, whatever its modality.

    With a decoder, symbols are written one after the other, from BEGIN to END, and trained in one
    pass (teacher forcing). Without one (``decoder: null``) every position of the encoder says a
    symbol or blank, and the loss is that of connectionist temporal classification (Graves et al.
    2006), which suits sources that are longer than their targets and in the same order.

    A target is a string or a list of tokens, and so is a prediction. Symbols that training never
    had weigh nothing in the loss, are never written, and count as wrong. A sound longer than its
    front-end's `piece_seconds` is predicted in pieces, which are joined between two words where
    they overlap; with a decoder it is refused, since what is written has no times.

    Evaluation gives ``loss`` and, with a decoder, ``accuracy`` (of symbols and END, each given the
    true ones before it: teacher forcing). Besides, outputs are written freely, by the settings of
    the head, and scored by `metrics`: of `decode_examples` examples in validation, of all in a
    test. ``gap`` is the accuracy under teacher forcing of these very examples, minus that of what
    was written, 1 - edits per symbol, END counted in both. References are compared as predictions
    read: words and tokens of a string stand one space apart.

    Args:
        frontend: as in :class:`TaskHead`, and all that is not listed here.
        encoder: the shared encoder.
        decoder: writes the symbols; None for connectionist temporal classification.
        target_units: what a symbol is: a ``word``, a ``token`` (between white space), a
            ``character`` or a ``subword``.
        target_vocabulary_size: most symbols, the five special ones included. None for 30,000
            words or tokens, 8,000 sub-words or all characters.
        target_min_count: symbols seen less often in training are unseen ones.
        target_lowercase: whether targets are lower-cased.
        one_boundary: whether BEGIN and END are one symbol.
        unseen_labels: what a symbol does at evaluation that training never had: count as
            ``wrong``, or be an ``error``.
        tie: use the symbols' embedding as output layer (Press & Wolf 2017).
        ctc_weight: of the encoder's own loss by connectionist temporal classification beside the
            decoder's, in training, 0 … 1 (Watanabe et al. 2017): it learns which symbol is when.
        copy: whether symbols of both vocabularies are also copied from the source: words or
            characters of text, or the last category of nodes (pointer-generator network).
        dropout: on the embedded symbols.
        width: hypotheses that the search goes on with; 1 takes the best symbol at every step.
        length_penalty: scores are divided by length to this power; above 0 favours longer outputs.
        max_length: symbols written at most, END among them.
        max_length_factor: further ones for each position that the encoder gives.
        min_length: symbols at least, END not among them.
        temperature: 0 searches; above it, symbols are drawn from logits divided by it.
        top_k: draw among the k best only.
        top_p: draw among the best that together have this probability.
        decode_examples: validation examples, of all processes together, that outputs are written
            for: so many on average, chosen by their keys, the same ones in every epoch and whatever
            the number of processes; of a word (``w``, ``w(2)``) all variants or none. 0 for none.
        metrics: of what is written, some of ``exact_match``, ``token_error_rate``,
            ``word_error_rate``, ``character_error_rate``, ``bleu``, ``chrf``, ``rouge1`` and
            ``rougeL``; None for all but the last three.
        monitor: which of the metrics, ``loss``, ``accuracy``, ``gap`` or what a subclass adds in
            :meth:`build_metrics` (asked before it is fitted) chooses the best checkpoint; None for
            the token error rate, or the first metric, or the loss where nothing is written.

    Raises:
        ValueError: if the decoder does not fit the encoder or does not write step by step, if a
            setting or `ctc_weight` is out of its range or needs a decoder, or a metric is unknown.
        TypeError: if `decoder` is none.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        encoder: Encoder,
        decoder: Decoder | None,
        *,
        target_units: TargetUnits = "word",
        target_vocabulary_size: int | None = None,
        target_min_count: int = 1,
        target_lowercase: bool = False,
        one_boundary: bool = False,
        unseen_labels: Unseen = "wrong",
        tie: bool = True,
        ctc_weight: float = 0.0,
        copy: bool = False,
        dropout: float = 0.1,
        width: int = 1,
        length_penalty: float = 0.0,
        max_length: int = 128,
        max_length_factor: float = 0.0,
        min_length: int = 0,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        decode_examples: int = 200,
        metrics: list[str] | None = None,
        monitor: str | None = None,
        layer: LayerChoice = "last",
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        require_parts(frontend, encoder)
        require_decoder(decoder, encoder, layer, ctc_weight=ctc_weight, copy=copy)
        self._new_target_vectorizer = TargetSequenceVectorizer(
            target_units,
            vocabulary_size=target_vocabulary_size,
            min_count=target_min_count,
            lowercase=target_lowercase,
            one_boundary=one_boundary,
            unseen=unseen_labels,
            max_symbols=None if decoder is None else decoder.max_positions,
        )
        super().__init__(
            frontend,
            encoder,
            layer=layer,
            learning_rate=learning_rate,
            schedule=schedule,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            clip_norm=clip_norm,
            init_from=init_from,
        )
        self.decoder = decoder
        self.tie = tie
        self.ctc_weight = ctc_weight
        self.copy = copy
        self.pointer: Pointer | None = None
        self.dropout = Dropout(dropout)
        self.settings = DecodeSettings(
            width=width,
            length_penalty=length_penalty,
            max_length=max_length,
            max_length_factor=max_length_factor,
            min_length=min_length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
        if decoder is None:
            self.settings.require_search_only()
        self.decode_examples = decode_examples
        self.metric_names = require_metrics(metrics, decode_examples)
        self._monitor = require_monitor(
            monitor, self.metric_names, teaches=decoder is not None, build=self.build_metrics
        )

    @property
    def monitor(self) -> Monitor:
        """What was chosen, or the token error rate."""
        return self._monitor

    @property
    def labels(self) -> list[str]:
        """The classes of the output layer: symbols, or blank and the symbols that can be said."""
        own = self.target_vectorizer.labels
        return class_names(own) if self.decoder is None else own

    def make_target_vectorizer(self) -> TargetSequenceVectorizer:
        """Return strings or token lists to symbols."""
        return self._new_target_vectorizer

    def build_output(self, dim: int) -> nn.Module:
        """Return the layer from D to the classes, tied to the symbols' embedding or not."""
        output = nn.Linear(dim, self.num_labels)
        if self.decoder is not None:
            self.target_embedding = LearnedSymbols(self.num_labels, dim)
            if self.tie:
                output.weight = self.target_embedding.table
            if self.ctc_weight:
                self.ctc_output = nn.Linear(dim, len(class_names(self.labels)))
            if self.copy:
                self.pointer = make_pointer(dim, self.frontend, self.target_vectorizer)
        return output

    def build_metrics(self) -> MetricCollection:
        """Return accuracy and gap, with a decoder, and the metrics of what is written."""
        classes = None if self.decoder is None else self.num_labels
        return make_sequence_metrics(self.metric_names, classes)

    # --- steps ------------------------------------------------------------------------------

    def forward(self, batch: SequenceBatch) -> Output:
        """Return a row of logits for every symbol and END of the targets, or for every position.

        A decoder without targets gives no rows; then :meth:`decode` writes them.
        """
        hidden, memory, inputs = self._read(batch)
        if self.decoder is None:
            return Output(self.output(hidden), inputs.offsets, hidden, inputs)
        writes = not (self.training or isinstance(memory, Tensor))
        extras = {"layers": torch.stack(list(memory))} if writes else {}
        if self.pointer is not None:
            extras["copied"] = self.pointer.symbols(self.frontend.spell(batch))
        if inputs.targets is None:
            none = hidden.new_empty(0, self.num_labels)
            return Output(none, torch.zeros_like(inputs.offsets), hidden, inputs, extras)
        vectorizer = self.target_vectorizer
        taught = TeacherForcing.of(inputs, vectorizer.begin_id, vectorizer.end_id)
        written = self.decoder(
            self.dropout(self.target_embedding(taught.inputs)),
            taught.packing.offsets,
            memory,
            inputs.offsets,
            packing=taught.packing,
            memory_packing=inputs.packing,
        )  # (N, D)
        logits = self.output(written)
        if self.pointer is not None:
            source = self.pointer.read(hidden, extras["copied"], inputs.packing.lengths)
            logits = self.pointer(written, logits, taught.packing.lengths, source)
        extras |= {"targets": taught.outputs, "weight": taught.weight}
        return Output(logits, taught.packing.offsets, hidden, inputs, extras)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the cross-entropy of every symbol and END, or the loss of every sequence.

        Sequences that are not labelled weigh 0. In training, `ctc_weight` adds the encoder's loss.
        """
        if self.decoder is None:
            return ctc_loss(output.logits, batch)
        targets = output.extras["targets"]
        loss = cross_entropy(output.logits, targets, label_smoothing=self.label_smoothing)
        loss.weight = loss.weight * output.extras["weight"]
        if self.training and self.ctc_weight:
            heard = ctc_loss(self.ctc_output(output.hidden), batch)
            loss = mix_losses(loss, heard, output.offsets, self.ctc_weight)
        return loss

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Count what is right under teacher forcing; write some outputs and score them."""
        if self.decoder is not None:
            counted = output.extras["weight"] > 0
            best, targets = output.logits.argmax(-1), output.extras["targets"]
            metrics["accuracy"].update(best[counted], targets[counted])
        if not self.metric_names:
            return
        chosen = choose_examples(batch, self._share_to_write(metrics))
        found = [best for best, *_ in self._write(output, batch, self.settings, chosen)]
        update_sequence_metrics(metrics, found, output, batch, chosen, self.target_vectorizer)

    def _share_to_write(self, metrics: MetricCollection) -> float:
        """Return the share of a stage's examples that outputs are written for."""
        if self._trainer is None or metrics is not self.metrics["val_metrics"]:
            return 1.0
        return validation_share(self.trainer, self.task, self.decode_examples)

    def _read(self, batch: SequenceBatch) -> tuple[Tensor, Memory, SequenceBatch]:
        """Return the encoder's vectors, what the decoder reads, and the batch as it then is."""
        if self.decoder is None or not self.decoder.needs_layers:
            hidden, inputs = self.encode(batch)
            return hidden, hidden, inputs
        inputs = self.frontend(batch)
        states = self.encode_inputs(inputs, every_layer=True)
        return states[-1], states, inputs

    # --- prediction -------------------------------------------------------------------------

    def decode(
        self,
        output: Output,
        batch: SequenceBatch,
        *,
        n_best: int | None = None,
        times: bool = False,
        seed: int = 0,
        width: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        max_length_factor: float | None = None,
        min_length: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> list[Any]:
        """Return the output for each source: a text, or a list of tokens as the targets were.

        With `n_best` it is a list of ``{"output", "score", "finished"}``, the best first. `score`
        is the logarithm of the probability, `finished` False where END never came.

        Args:
            output: of the sources.
            batch: the sources.
            n_best: outputs for each source, at most `width`.
            times: also give the words as [start, end, word, confidence], in seconds and 0 … 1, of
                a sound without decoder; ``{"output", "words"}`` where `n_best` is not given.
            seed: of the drawing. With it and the source's key an output is always the same.
            width: as in the class; by default the checkpoint's, as all that follows.
            length_penalty: likewise.
            max_length: likewise.
            max_length_factor: likewise.
            min_length: likewise.
            temperature: likewise.
            top_k: likewise.
            top_p: likewise.

        Raises:
            ValueError: if a setting is out of its range, needs a decoder, or does not go with
                another.
            DataError: if a score is not finite; names step and example.
        """
        vectorizer = self.target_vectorizer
        settings = self.settings.override(
            width=width,
            length_penalty=length_penalty,
            max_length=max_length,
            max_length_factor=max_length_factor,
            min_length=min_length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
        count = settings.require_n_best(n_best)
        seconds = output_seconds(self.frontend, self.decoder) if times else None
        found = self._write(output, batch, settings, range(len(batch)), n_best=count, seed=seed)
        described = [[describe(one, vectorizer) for one in ranked] for ranked in found]
        if seconds is not None:
            add_words(described, found, self._frames(output, batch), vectorizer, seconds)
        if n_best is not None:
            return described
        best = [ranked[0] for ranked in described]
        self._count_written([one["finished"] for one in best])
        if times:
            return [{"output": one["output"], "words": one["words"]} for one in best]
        return [one["output"] for one in best]

    def _write(
        self,
        output: Output,
        batch: SequenceBatch,
        settings: DecodeSettings,
        chosen: Sequence[int],
        *,
        n_best: int = 1,
        seed: int = 0,
    ) -> list[list[Hypothesis]]:
        """Return hypotheses for the chosen sources, at least one each, the best first."""
        if self.decoder is None:
            settings.require_search_only()
            every = self._frames(output, batch)
            frames, keys = [every[place] for place in chosen], [batch.keys[at] for at in chosen]
            return read_frames(frames, keys, settings.width, n_best)
        writer = Writer(
            self.decoder, self.target_embedding, self.output, self.target_vectorizer, self.pointer
        )
        return writer.write(output, batch, settings, chosen, n_best=n_best, seed=seed)

    def _frames(self, output: Output, batch: SequenceBatch) -> Sequence[Tensor]:
        """Return the log-probabilities of the classes at each source's positions, for CTC."""
        return torch.split(log_probabilities(output.logits), list(batch.packing.lengths))
