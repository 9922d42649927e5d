"""The next symbol at every position, or the symbols that were masked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from seqattn.batch import SequenceBatch
from seqattn.errors import DataError
from seqattn.frontends.base import FrontEnd
from seqattn.generation.sampling import Step, generate
from seqattn.heads.base import LayerChoice, Monitor, TaskHead, require_parts
from seqattn.heads.output import Loss, Output, cross_entropy
from seqattn.layers.encoder import Encoder
from seqattn.layers.slots import require_choice
from seqattn.metrics import Accuracy, BitsPerCharacter, Perplexity
from seqattn.optim import Schedule
from seqattn.seeds import derive_seed
from seqattn.vectorizer import TargetVectorizer, Vectorized

LanguageObjective = Literal["causal", "masked"]

# BERT's shares: 15 % of the positions are predicted; of these 80 % are masked, 10 % replaced by a
# random symbol and 10 % left as they are (Devlin et al. 2019, section 3.1).
_PREDICTED, _MASKED, _REPLACED = 0.15, 0.8, 0.1


@runtime_checkable
class SymbolVectorizer(Protocol):
    """What a language model asks of a vectorizer: its rows stand for symbols."""

    symbols: list[str]
    symbol_column: int
    begin: bool
    begin_id: int
    end_id: int
    mask_id: int
    reads_masks: bool
    has_symbol_rows: bool

    def row(self, symbol_id: int) -> Tensor:
        """Return the row of one symbol."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of symbols."""

    def symbol_length(self, symbol_id: int) -> int:
        """Return the characters that a symbol stands for."""


class SymbolTargets(TargetVectorizer):
    """Targets from the source itself: the next symbol, or the symbol of each position.

    Args:
        source: the front-end's vectorizer.
        is_causal: whether the target is the next symbol, END at the end.
    """

    needs_raw = False

    def __init__(self, source: SymbolVectorizer, *, is_causal: bool) -> None:
        self.source = source
        self.is_causal = is_causal

    def fit(self, targets: Iterable[Any]) -> None:
        """Do nothing: the symbols are the front-end's."""

    @property
    def is_fitted(self) -> bool:
        """Always."""
        return True

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return one symbol per position (L,)."""
        symbols = source.values[:, self.source.symbol_column]
        if not self.is_causal or not len(symbols):
            return symbols
        return torch.cat([symbols[1:], symbols.new_tensor([self.source.end_id])])

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the symbols of all positions (T,)."""
        return torch.cat(list(rows)) if rows else torch.empty(0, dtype=torch.int64)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take nothing."""


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
        output = nn.Linear(dim, self.num_labels)
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
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Return the continuation of each prompt, or its text with the masks filled.

        Args:
            output: of the prompts.
            batch: the prompts.
            max_length: symbols written at most.
            temperature: 0 takes the best symbol; above it, samples.
            top_k: sample among the k best only.
            top_p: sample among the best that together have this probability.
            seed: of the sampling. With it and the sequence's key a continuation is always the
                same, whatever its batch-mates.

        Raises:
            DataError: if a prompt is empty and the front-end has no begin symbol.
        """
        symbols = output.extras["symbols"]
        lengths = list(batch.packing.lengths)
        if self.objective == "masked":
            filled = torch.where(
                symbols == self.symbol_source.mask_id, output.logits.argmax(-1), symbols
            )
            return [self.symbol_source.decode(ids.tolist()) for ids in torch.split(filled, lengths)]
        _require_prompts(batch)
        written = generate(
            self._stepper(batch),
            [ids.tolist() for ids in torch.split(symbols, lengths)],
            end=self.symbol_source.end_id,
            max_length=max_length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generators=[
                torch.Generator(symbols.device).manual_seed(derive_seed(seed, key))
                for key in batch.keys
            ],
            device=symbols.device,
        )
        return [self.symbol_source.decode(ids) for ids in written]

    def _stepper(self, prompts: SequenceBatch) -> Step:
        """Return the step function of these prompts, as the front-end left them.

        A prompt's positions are read as they are, since a symbol may not say all of them: a word
        that is unknown, say, has characters.
        """
        state = self.encoder.start(len(prompts))
        rows = self._rows()

        def step(symbols: Tensor) -> Tensor:
            inputs = SequenceBatch.from_list(list(rows[symbols][:, None]))
            is_prompt = (state.length < prompts.lengths)[:, None]
            here = (prompts.offsets[:-1] + state.length).clamp(max=len(prompts.values) - 1)
            x = torch.where(is_prompt, prompts.values[here], self.frontend(inputs).values)  # (B, D)
            logits: Tensor = self.output(self.encoder.step(x, state))
            return logits

        return step

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
