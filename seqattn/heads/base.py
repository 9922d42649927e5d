"""The task head: front-end, encoder, output layer, loss, metrics and prediction in one module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection

from seqattn.attention.linear import Linear
from seqattn.batch import SequenceBatch
from seqattn.checkpoint import SavedHead, transfer_weights
from seqattn.collate import Collator
from seqattn.frontends.base import FrontEnd
from seqattn.heads.examples import naming_examples
from seqattn.heads.output import Loss, Output
from seqattn.heads.run import training_examples
from seqattn.heads.trained_module import Monitor as Monitor
from seqattn.heads.trained_module import Stage, TrainedModule
from seqattn.heads.unseen_labels import UnseenLabels
from seqattn.layers.encoder import Encoder
from seqattn.layers.pooling import LayerMix
from seqattn.optim import Schedule
from seqattn.predictions import predict
from seqattn.seeds import seeded
from seqattn.vectorizer import TargetVectorizer, Vectorizer

LayerChoice = int | Literal["last", "mix"]


@runtime_checkable
class SuitsEncoder(Protocol):
    """A front-end that must know what the encoder does with what it gives."""

    def suit(self, encoder: Encoder) -> None:
        """Take note of the encoder that a head has joined to it."""


class TaskHead(TrainedModule, ABC):
    """Base of every head. A subclass overrides one or two of the hooks below the life cycle.

    Args:
        frontend: how the modality enters.
        encoder: the shared encoder.
        layer: which layer the head reads: the ``last``, an index (0 is the encoder's input, -1 the
            last), or a learned ``mix`` of all.
        learning_rate: highest learning rate of AdamW.
        schedule: how it falls after the warm-up, per optimiser step.
        warmup_steps: optimiser steps of linear warm-up.
        weight_decay: decoupled, on matrices only.
        label_smoothing: of the cross-entropy, in 0 … 1.
        clip_norm: highest norm of the gradient; 0 leaves it as it is.
        init_from: checkpoint from which every matching weight is taken before training, and the
            vocabulary where it is of such a front-end, whatever its layout and dropout.

    Raises:
        TypeError: if `frontend` or `encoder` is none.
        ValueError: if a number is out of its range, or the front-end does not suit the encoder.
    """

    output: nn.Module
    metrics: nn.ModuleDict
    mean_losses: nn.ModuleDict
    unseen: nn.ModuleDict

    def __init__(
        self,
        frontend: FrontEnd,
        encoder: Encoder,
        *,
        layer: LayerChoice = "last",
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip_norm: float = 1.0,
        init_from: str | None = None,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            schedule=schedule,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
        )
        require_parts(frontend, encoder)
        if isinstance(frontend, SuitsEncoder):
            frontend.suit(encoder)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in 0 … 1, got {label_smoothing}")
        _require_layer(layer, len(encoder.layers))
        self.frontend = frontend
        self.encoder = encoder
        self.layer = layer
        self.mix = LayerMix(len(encoder.layers) + 1) if layer == "mix" else None
        self.label_smoothing = label_smoothing
        self.init_from = init_from
        self.target_vectorizer = self.make_target_vectorizer()
        self.is_built = False
        self.task: str | None = None
        """Its name in a joint model; None alone."""

    # --- hooks for subclasses ---------------------------------------------------------------

    @abstractmethod
    def make_target_vectorizer(self) -> TargetVectorizer | None:
        """Return the (unfitted) vectorizer of the targets, or None without targets.

        The base's ``__init__`` calls it: set what it reads before ``super().__init__``.
        """

    def build_output(self, dim: int) -> nn.Module:
        """Return the layer from the encoder's vectors to logits; `num_labels` is known."""
        return Linear(dim, self.num_labels)

    def build_metrics(self) -> MetricCollection:
        """Return the metrics of one evaluation stage."""
        return MetricCollection({})

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> Output:
        """Return logits (N, V) and what loss and decoding want."""

    @abstractmethod
    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        """Return the loss of each item, unreduced. `batch` is ``output.batch``."""

    def update_metrics(
        self, metrics: MetricCollection, output: Output, batch: SequenceBatch, loss: Loss
    ) -> None:
        """Add one evaluated batch to the metrics of its stage."""

    @abstractmethod
    def decode(self, output: Output, batch: SequenceBatch) -> list[Any]:
        """Return one plain Python prediction per sequence; may take keyword settings."""

    # --- what a head knows ------------------------------------------------------------------

    @property
    def monitor(self) -> Monitor:
        """The metric that chooses the best checkpoint, and its direction."""
        return ("val/loss", "min")

    @property
    def num_labels(self) -> int:
        """V, from the training targets."""
        return len(self.labels)

    @property
    def labels(self) -> list[str]:
        """The names of the V classes."""
        found: list[str] = getattr(self.target_vectorizer, "labels", [])
        return found

    @property
    def collate(self) -> Collator:
        """The function that makes batches of this head's examples; for any DataLoader."""
        limit = self.encoder.max_positions if self.frontend.keeps_positions else None
        return Collator(self.frontend.vectorizer, self.target_vectorizer, max_length=limit)

    def encode(self, batch: SequenceBatch) -> tuple[Tensor, SequenceBatch]:
        """Return the vectors that the head reads (T, D), and the batch as the front-end left it."""
        inputs = self.frontend(batch)
        if self.layer in ("last", -1):
            return self.encode_inputs(inputs)[-1], inputs
        states = self.encode_inputs(inputs, every_layer=True)
        return (self.mix(states) if self.mix else states[int(self.layer)]), inputs

    def encode_inputs(self, inputs: SequenceBatch, *, every_layer: bool = False) -> list[Tensor]:
        """Return the encoder's last layer, or all of them, of what the front-end gave."""
        found = self.encoder(
            inputs.values,
            inputs.offsets,
            inputs.edge_index,
            inputs.edge_weight,
            packing=inputs.packing,
            hidden_states=every_layer,
        )
        return found if every_layer else [found]

    # --- life cycle -------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Fit the vectorizers, in stage fit only, and build everything whose size they decide."""
        if not self.is_built:
            self.prepare(SavedHead.read(self.init_from) if self.init_from else None)

    def prepare(self, pretrained: SavedHead | None) -> None:
        """Fit and build with the vocabulary and weights of a pretrained head where they fit."""
        self._fit_vectorizers(pretrained)
        self._build()
        if pretrained is not None:
            transfer_weights(pretrained, self)

    def restore_vectorizers(self, states: Mapping[str, Any]) -> Self:
        """Build the head to a checkpoint's vocabulary and labels, and return it.

        Raises:
            RuntimeError: if it is built already.
            ValueError: if the state of a vectorizer is missing or damaged.
        """
        if self.is_built:
            raise RuntimeError("a head must be restored before it is built")
        self._load_states(states)
        self.init_from = None
        self._build()
        return self

    def vectorizer_states(self) -> dict[str, Any]:
        """Return the fitted state of source and target vectorizers, as plain data."""
        return {name: vectorizer.state() for name, vectorizer in self._vectorizers().items()}

    def _vectorizers(self) -> dict[str, Vectorizer | TargetVectorizer]:
        named: dict[str, Vectorizer | TargetVectorizer] = {"source": self.frontend.vectorizer}
        if self.target_vectorizer is not None:
            named["target"] = self.target_vectorizer
        return named

    def _load_states(self, states: Mapping[str, Any]) -> None:
        for name, vectorizer in self._vectorizers().items():
            try:
                vectorizer.load_state(states[name])
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"the state of the {name} vectorizer must be whole, got one that is damaged "
                    f"({type(error).__name__}: {error})"
                ) from error

    def _fit_vectorizers(self, pretrained: SavedHead | None) -> None:
        """Fit on process 0, with the vocabulary of like weights; hand the state to the others."""
        if all(vectorizer.is_fitted for vectorizer in self._vectorizers().values()):
            return
        states: dict[str, Any] = {}
        if self.trainer.is_global_zero:
            examples = training_examples(self.trainer, self.task)
            sources = [example.source for example in examples]
            keys = [example.key or str(place) for place, example in enumerate(examples)]
            if pretrained is not None and pretrained.has_frontend(self.frontend):
                with naming_examples(sources, keys) as given:
                    self.frontend.vectorizer.adopt(pretrained.vectorizers["source"], given)
            self.fit_vectorizers(sources, [example.target for example in examples], keys)
            states = self.vectorizer_states()
        if self.trainer.world_size > 1:
            self._load_states(self.trainer.strategy.broadcast(states))

    def fit_vectorizers(
        self, sources: Sequence[Any], targets: Sequence[Any], keys: Sequence[str] | None = None
    ) -> None:
        """Fit the vectorizers that are not fitted yet on raw training data.

        Args:
            sources: of each example.
            targets: of each example.
            keys: what errors call the examples; by default their places.

        Raises:
            DataError: if a source or a target breaks a rule; names its key.
        """
        for vectorizer, raw in (
            (self.frontend.vectorizer, sources),
            (self.target_vectorizer, targets),
        ):
            if vectorizer is not None and not vectorizer.is_fitted:
                with naming_examples(raw, keys) as given:
                    vectorizer.fit(given)

    def _build(self) -> None:
        with seeded("build"):  # strategies of several processes have set the seed anew by now
            self.frontend.build(self.encoder.dim)
            self.output = self.build_output(self.encoder.dim)
        stages = ("val", "test")
        self.metrics = nn.ModuleDict({f"{stage}_metrics": self.build_metrics() for stage in stages})
        self.mean_losses = nn.ModuleDict({f"{stage}_loss": MeanMetric() for stage in stages})
        self.unseen = nn.ModuleDict({f"{stage}_unseen": UnseenLabels() for stage in stages})
        self.is_built = True

    # --- steps ------------------------------------------------------------------------------

    def step(self, batch: SequenceBatch, stage: Stage) -> Loss:
        """Return the loss of one batch; update the metrics of an evaluation stage. Logs nothing."""
        output = self(batch)
        loss = self.loss(output, output.batch)
        if stage != "train":
            total, weight = loss.sums()
            mean = total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
            mean_loss, unseen, metrics = self._meters(stage)
            mean_loss.update(mean, weight)
            unseen.update(output.batch)
            self.update_metrics(metrics, output, output.batch, loss)
        return loss

    def stage_values(self, stage: Stage) -> dict[str, Tensor]:
        """Return loss and metrics of a stage, over all processes, by their logged names."""
        mean_loss, unseen, metrics = self._meters(stage)
        values = {"loss": mean_loss.compute(), **metrics.compute()}
        if not self.trainer.sanity_checking:
            unseen.warn_once(f"{self.task}/{stage}" if self.task else stage)
        for meter in (mean_loss, unseen, metrics):
            meter.reset()
        return {f"{stage}/{name}": value for name, value in values.items()}

    def _meters(self, stage: Stage) -> tuple[MeanMetric, UnseenLabels, MetricCollection]:
        mean_loss, metrics = self.mean_losses[f"{stage}_loss"], self.metrics[f"{stage}_metrics"]
        unseen = self.unseen[f"{stage}_unseen"]
        assert isinstance(mean_loss, MeanMetric)
        assert isinstance(unseen, UnseenLabels)
        assert isinstance(metrics, MetricCollection)
        return mean_loss, unseen, metrics

    # --- prediction -------------------------------------------------------------------------

    def predict(
        self, raw: Sequence[Any], *, batch_tokens: int | None = None, **settings: Any
    ) -> list[Any]:
        """Return a plain Python prediction for each raw source, in the same order.

        Args:
            raw: sources of the front-end's modality.
            batch_tokens: positions per batch; 8,192 by default.
            **settings: of :meth:`decode`.
        """
        return predict(self, raw, batch_tokens=batch_tokens, settings=settings)

    def predict_batch(self, batch: SequenceBatch, **settings: Any) -> list[Any]:
        """Return one prediction per sequence of a batch, whose targets no one looks at."""
        output = self(batch.replace(targets=None))
        decode: Callable[..., list[Any]] = self.decode
        return decode(output, output.batch, **settings)

    def predict_step(self, batch: SequenceBatch, batch_idx: int) -> list[Any]:
        """Return one prediction per sequence of a batch."""
        return self.predict_batch(batch)


def require_parts(frontend: FrontEnd, encoder: Encoder) -> None:
    """Check that a head is given its parts.

    Raises:
        TypeError: if one is something else.
    """
    if not isinstance(frontend, FrontEnd):
        raise TypeError(f"frontend must be a FrontEnd, got {type(frontend).__name__}")
    if not isinstance(encoder, Encoder):
        raise TypeError(f"encoder must be an Encoder, got {type(encoder).__name__}")


def _require_layer(layer: LayerChoice, depth: int) -> None:
    if layer in ("last", "mix"):
        return
    if not isinstance(layer, int) or isinstance(layer, bool) or not -depth - 1 <= layer <= depth:
        raise ValueError(
            f"layer must be 'last', 'mix' or an index in {-depth - 1} … {depth}, got {layer!r}"
        )
