"""The next symbol at every position, or the symbols that were masked."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from seqattn.attention.linear import Linear
from seqattn.batch import SequenceBatch
from seqattn.errors import DataError
from seqattn.frontends.base import FrontEnd
from seqattn.generation.beam import beam_search
from seqattn.generation.sampling import sample
from seqattn.generation.stepper import Hypothesis
from seqattn.heads.base import LayerChoice, Monitor, TaskHead, require_parts
from seqattn.heads.output import Loss, Output, cross_entropy
from seqattn.heads.prompts import PromptStepper, equally_long
from seqattn.heads.symbol_targets import SymbolTargets, SymbolVectorizer
from seqattn.layers.encoder import Encoder
from seqattn.layers.slots import require_choice
from seqattn.metrics import Accuracy, BitsPerCharacter, Perplexity
from seqattn.optim import Schedule
from seqattn.seeds import derive_seed

LanguageObjective = Literal["causal", "masked"]

# BERT's shares: 15 % of the positions are predicted; of these 80 % are masked, 10 % replaced by a
# random symbol and 10 % left as they are (Devlin et al. 2019, section 3.1).
_PREDICTED, _MASKED, _REPLACED = 0.15, 0.8, 0.1


class LanguageModel(TaskHead):
    """Predicts symbols of the text itself; its prediction continues a prompt.

    ``causal`` gives the next symbol at every position in one pass and needs causal patterns only.
    ``masked`` is BERT's objective (Devlin et al. 2019, section 3.1); its prediction fills every
    ``<mask>`` of the text. Evaluation masks by a fixed function of symbol and position.

    Metrics: perplexity per symbol, accuracy, and for ``causal`` bits per character, END included
    in the bits. With ``begin: true`` in the front-end the first symbol is predicted too.

    Args:
        frontend: as in :class:`TaskHead`, and all that is not listed here.
        encoder: the shared encoder.
        objective: ``causal`` or ``masked``.
        tie: use the front-end's symbol embedding as output layer (Press & Wolf 2017).

    Raises:
        ValueError: if the encoder's patterns do not fit the objective, or the front-end has no
            symbols.
    """

    symbol_lengths: Tensor

    def __init__(
        self,
        frontend: FrontEnd,
        encoder: Encoder,
        *,
        objective: LanguageObjective = "causal",
        tie: bool = False,
        layer: LayerChoice = "last",
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        require_choice("objective", objective, ("causal", "masked"))
        require_parts(frontend, encoder)
        _require_patterns(encoder, objective)
        _require_last_layer(encoder, objective, layer)
        self.objective: LanguageObjective = objective
        self.symbol_source = _require_symbols(frontend)
        self.symbol_source.reads_masks = objective == "masked"
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
        self.tie = tie

    @property
    def monitor(self) -> Monitor:
        """Perplexity."""
        return ("val/perplexity", "min")

    @property
    def labels(self) -> list[str]:
        """The symbols."""
        return self.symbol_source.symbols

    def make_target_vectorizer(self) -> SymbolTargets:
        """Return the targets of the objective, from the source itself."""
        return SymbolTargets(self.symbol_source, is_causal=self.objective == "causal")

    def build_output(self, dim: int) -> nn.Module:
        """Return the layer from D to the symbols, tied to the embedding or not."""
        source = self.symbol_source
        if not source.has_symbol_rows:
            raise ValueError(
                "a language model needs one symbol per position, got token lists of smaller units: "
                "use units 'word', or strings"
            )
        lengths = [source.symbol_length(number) for number in range(self.num_labels)]
        self.register_buffer("symbol_lengths", torch.tensor(lengths), persistent=False)
        output = Linear(dim, self.num_labels)
        if self.tie:
            weight = getattr(self.frontend, "symbol_embedding", None)
            if not isinstance(weight, nn.Parameter):
                raise ValueError("tie needs a learned symbol embedding in the front-end, got none")
            output.weight = weight
        return output

    def build_metrics(self) -> MetricCollection:
        """Return perplexity, accuracy and, for a causal model, bits per character."""
        metrics: dict[str, Metric | MetricCollection] = {
            "perplexity": Perplexity(),
            "accuracy": Accuracy(self.num_labels),
        }
        if self.objective == "causal":
            metrics["bits_per_character"] = BitsPerCharacter()
        return MetricCollection(metrics, compute_groups=False)

    def forward(self, batch: SequenceBatch) -> Output:
        """Return one row of logits per position."""
        symbols = batch.values[:, self.symbol_source.symbol_column]
        extras = {"symbols": symbols}
        if self.objective == "masked" and batch.targets is not None:
            batch, extras["predicted"] = self._mask(batch, symbols)
        hidden, inputs = self.encode(batch)
        return Output(self.output(hidden), inputs.offsets, hidden, inputs, extras)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the cross-entropy of every predicted symbol."""
        loss = cross_entropy(output.logits, _symbols(batch), label_smoothing=self.label_smoothing)
        if "predicted" in output.extras:
            loss.weight = loss.weight * output.extras["predicted"]
        return loss

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Add up nats, symbols and characters."""
        targets = _symbols(batch)
        nats = F.cross_entropy(output.logits.float(), targets, reduction="none")
        total = (nats * loss.weight).sum()
        counted = loss.weight > 0
        metrics["perplexity"].update(total, loss.weight.sum())
        metrics["accuracy"].update(output.logits.argmax(-1)[counted], targets[counted])
        if self.objective == "causal":
            metrics["bits_per_character"].update(total, self.symbol_lengths[targets].sum())

    def decode(
        self,
        output: Output,
        batch: SequenceBatch,
        *,
        max_length: int = 64,
        min_length: int = 0,
        width: int = 1,
        length_penalty: float = 0.0,
        n_best: int | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[Any]:
        """Return the continuation of each prompt, or its text with the masks filled.

        Args:
            output: of the prompts.
            batch: the prompts.
            max_length: symbols written at most, END among them.
            min_length: symbols written at least, END not among them.
            width: hypotheses of the beam search; 1 takes the best symbol at every step.
            length_penalty: power of the length that divides a hypothesis's log-probability; above
                0 it favours longer ones.
            n_best: gives a list of so many ``{"output", "score", "finished"}`` instead.
            temperature: 0 takes the best symbol; above it, samples.
            top_k: sample among the k best only.
            top_p: sample among the best that together have this probability.
            seed: of the sampling. With it and the sequence's key a continuation is always the
                same, whatever its batch-mates.

        Raises:
            ValueError: if a setting is out of its range, or two make no sense together.
            DataError: if a prompt is empty and the front-end has no begin symbol.
        """
        if self.objective == "masked":
            return self._fill(output, batch)
        _require_prompts(batch)
        if width != 1 and temperature > 0:
            raise ValueError(f"width must be 1 with a temperature above 0, got {width}")
        if width == 1 and n_best not in (None, 1):
            raise ValueError(f"n_best must lie in 1 … width = 1, got {n_best}")
        common: dict[str, Any] = {
            "end": self.symbol_source.end_id,
            "max_length": max_length,
            "min_length": min_length,
        }
        symbols = output.extras["symbols"]
        if width == 1:
            drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            found = self._write(batch, symbols, seed, common | drawing)
        else:
            count = 1 if n_best is None else n_best
            beam = {"width": width, "length_penalty": length_penalty, "n_best": count}
            found = self._search(batch, symbols, common | beam)
        if n_best is None:
            return [self.symbol_source.decode(best.symbols) for best, *_ in found]
        return [[self._describe(hypothesis) for hypothesis in best] for best in found]

    def _describe(self, hypothesis: Hypothesis) -> dict[str, Any]:
        return {
            "output": self.symbol_source.decode(hypothesis.symbols),
            "score": hypothesis.score,
            "finished": hypothesis.finished,
        }

    def _fill(self, output: Output, batch: SequenceBatch) -> list[str]:
        """Return the texts with the best symbol where a mask was."""
        symbols = output.extras["symbols"]
        is_mask = symbols == self.symbol_source.mask_id
        filled = torch.where(is_mask, output.logits.argmax(-1), symbols)
        pieces = torch.split(filled, list(batch.packing.lengths))
        return [self.symbol_source.decode(ids.tolist()) for ids in pieces]

    def _write(
        self, prompts: SequenceBatch, symbols: Tensor, seed: int, settings: dict[str, Any]
    ) -> list[list[Hypothesis]]:
        """Return one continuation each; prompts of any lengths are read side by side."""
        pieces = torch.split(symbols, list(prompts.packing.lengths))
        return sample(
            self._stepper(prompts),
            symbols[prompts.offsets[:-1]],
            prefixes=[ids[1:].tolist() for ids in pieces],
            generators=[
                torch.Generator(symbols.device).manual_seed(derive_seed(seed, key))
                for key in prompts.keys
            ],
            keys=prompts.keys,
            **settings,
        )

    def _search(
        self, prompts: SequenceBatch, symbols: Tensor, settings: dict[str, Any]
    ) -> list[list[Hypothesis]]:
        """Return several continuations each; prompts of one length are read side by side."""
        found: list[list[Hypothesis]] = [[] for _ in prompts.keys]
        for length, places in equally_long(prompts):
            chosen = torch.tensor(places, device=symbols.device)
            stepper = self._stepper(prompts, chosen)
            last = symbols[prompts.offsets[1:][chosen] - 1]
            for _ in range(length - 1):
                stepper.step(last)
            keys = [prompts.keys[place] for place in places]
            best = beam_search(stepper, last, keys=keys, **settings)
            for place, hypotheses in zip(places, best, strict=True):
                found[place] = hypotheses
        return found

    def _stepper(self, prompts: SequenceBatch, places: Tensor | None = None) -> PromptStepper:
        rows = self._rows()

        def embed(symbols: Tensor) -> Tensor:
            inputs = SequenceBatch.from_list(list(rows[symbols][:, None]))
            vectors: Tensor = self.frontend(inputs).values
            return vectors

        return PromptStepper(self.encoder, embed, self.output, prompts, places)

    def _rows(self) -> Tensor:
        """Return the row of every symbol (V, C)."""
        rows = [self.symbol_source.row(number) for number in range(self.num_labels)]
        return torch.stack(rows).to(self.device)

    def _mask(self, batch: SequenceBatch, symbols: Tensor) -> tuple[SequenceBatch, Tensor]:
        """Return the batch with masked rows, and which positions are predicted (T,)."""
        chance, kind, other = self._draws(batch, symbols)
        predicted = (chance < _PREDICTED) & (symbols != self.symbol_source.begin_id)
        masked = predicted & (kind < _MASKED)
        replaced = predicted & (kind >= 1 - _REPLACED)
        table = self._rows()
        values = torch.where(masked[:, None], table[self.symbol_source.mask_id], batch.values)
        drawn = table[(other * self.num_labels).long().clamp(max=self.num_labels - 1)]
        values = torch.where(replaced[:, None], drawn, values)
        return batch.replace(values=values), predicted

    def _draws(self, batch: SequenceBatch, symbols: Tensor) -> tuple[Tensor, ...]:
        """Return three numbers in 0 … 1 per position: random in training, fixed elsewhere."""
        if self.training:
            drawn = torch.rand(3, len(symbols), device=symbols.device)
        else:
            mixed = (batch.positions * 1_000_003 + symbols * 7_919) % 1_000_033
            steps = torch.tensor([[48_271], [16_807], [69_621]], device=symbols.device)
            drawn = (mixed * steps % 1_000_033) / 1_000_033
        return tuple(drawn)


def _symbols(batch: SequenceBatch) -> Tensor:
    targets = batch.targets
    assert isinstance(targets, Tensor)
    return targets


def _require_prompts(batch: SequenceBatch) -> None:
    for key, length in zip(batch.keys, batch.packing.lengths, strict=True):
        if not length:
            rule = "a prompt must hold at least one symbol without begin=True, got none"
            raise DataError(rule, key=key)


def _require_symbols(frontend: FrontEnd) -> SymbolVectorizer:
    vectorizer: Any = frontend.vectorizer
    if not isinstance(vectorizer, SymbolVectorizer):
        name = type(frontend).__name__
        raise ValueError(f"a language model needs a front-end of symbols, got {name}")
    return vectorizer


def _require_patterns(encoder: Encoder, objective: str) -> None:
    causal = [slots.pattern.is_causal for slots in encoder.slots]
    if objective == "causal" and not all(causal):
        layer = causal.index(False)
        raise ValueError(
            "objective 'causal' needs causal patterns in every layer, "
            f"got {type(encoder.slots[layer].pattern).__name__} in layer {layer}"
        )
    if objective == "masked" and any(causal):
        raise ValueError("objective 'masked' needs patterns that look both ways, got a causal one")


def _require_last_layer(encoder: Encoder, objective: str, layer: LayerChoice) -> None:
    if objective == "causal" and layer not in ("last", -1, len(encoder.layers)):
        raise ValueError(
            "layer must be 'last' for objective 'causal', which continues a text step by step, "
            f"got {layer!r}"
        )
