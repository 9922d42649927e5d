"""Raw sources to predictions and hidden states, in order, without a Trainer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqattn.batch import Example, SequenceBatch
from seqattn.data.pieces import CutExample
from seqattn.data.sampler import TokenBatchSampler

if TYPE_CHECKING:
    from seqattn.heads.base import TaskHead

_BATCH_TOKENS = 8192


def predict(
    head: TaskHead,
    raw: Sequence[Any],
    *,
    batch_tokens: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Return a plain Python prediction for each raw source, in the same order.

    Sources are sorted by length and batched by tokens inside; a source's prediction does not
    depend on the others. A source that the vectorizer cuts into pieces (an hour of sound) is
    predicted piece by piece, where the head can join their predictions.

    Raises:
        TypeError: if `raw` is one source and no list, or a setting is none of the head's
            :meth:`decode`.
        RuntimeError: if the head has no vocabulary yet.
        DataError: if a source breaks a rule; names its place in `raw`.
    """
    settings = dict(settings or {})
    _check_settings(head, settings)
    _check_call(head, raw, batch_tokens)
    vectorizer = head.frontend.vectorizer
    whole = [Example(source, key=str(index)) for index, source in enumerate(raw)]
    cut = [CutExample.of(example, vectorizer, head) for example in whole]
    examples = [example for part in cut for example in part.examples]
    predictions: list[Any] = [None] * len(examples)
    for indices, batch in _example_batches(head, examples, batch_tokens):
        found = head.predict_batch(batch, **settings)
        for index, prediction in zip(indices, found, strict=True):
            predictions[index] = prediction
    rest = iter(predictions)
    return [part.join(head, list(islice(rest, len(part.examples)))) for part in cut]


def hidden_states(
    head: TaskHead,
    raw: Sequence[Any],
    layers: Sequence[int] | None = None,
    *,
    batch_tokens: int | None = None,
) -> list[Tensor]:
    """Return the encoder's vectors of each raw source, of any layer.

    Args:
        head: a fitted head.
        raw: sources of its modality.
        layers: 0 is the encoder's input, 1 the first layer's output, -1 the last; all by default.
        batch_tokens: positions per batch; 8,192 by default.

    Shape:
        returns: for each source (number of layers, L, D), on the CPU.

    Raises:
        IndexError: if there is no such layer.
        TypeError: if `raw` is one source and no list.
    """
    _check_call(head, raw, batch_tokens)
    states: list[Tensor] = [torch.empty(0)] * len(raw)
    for indices, batch in batches(head, raw, batch_tokens):
        for index, vectors in zip(indices, batch_states(head, batch, layers), strict=True):
            states[index] = vectors
    return states


def batch_states(
    head: TaskHead, batch: SequenceBatch, layers: Sequence[int] | None = None
) -> list[Tensor]:
    """Return what :func:`hidden_states` does, for one batch on the head's device."""
    inputs = head.frontend(batch)
    every = head.encode_inputs(inputs, every_layer=True)
    chosen = range(len(every)) if layers is None else layers
    for layer in chosen:
        if not -len(every) <= layer < len(every):
            raise IndexError(f"layers must lie in 0 … {len(every) - 1}, got {layer}")
    stacked = torch.stack([every[layer] for layer in chosen]).cpu()  # (layers, T, D)
    return list(torch.split(stacked, list(inputs.packing.lengths), dim=1))


def batches(
    head: TaskHead,
    raw: Sequence[Any],
    batch_tokens: int | None,
    targets: Sequence[Any] | None = None,
) -> Iterator[tuple[list[int], SequenceBatch]]:
    """Yield batches of similar length, with the places of their sources."""
    _check_call(head, raw, batch_tokens)
    targets = [None] * len(raw) if targets is None else targets
    pairs = enumerate(zip(raw, targets, strict=True))
    examples = [Example(source, target, str(index)) for index, (source, target) in pairs]
    yield from _example_batches(head, examples, batch_tokens)


def _example_batches(
    head: TaskHead, examples: Sequence[Example], batch_tokens: int | None
) -> Iterator[tuple[list[int], SequenceBatch]]:
    collate = head.collate
    budget = batch_tokens or _BATCH_TOKENS
    lengths = [collate.length(example) for example in examples]
    sampler = TokenBatchSampler(lengths, budget, shuffle=False)
    was_training = head.training
    head.eval()
    try:
        with torch.inference_mode():
            for items in sampler:
                indices = [index for index, _ in items]
                batch = collate([examples[index] for index in indices])
                yield indices, batch.to(head.device)
    finally:
        head.train(was_training)


def _check_call(head: TaskHead, raw: Sequence[Any], batch_tokens: int | None) -> None:
    if isinstance(raw, str):
        raise TypeError(f"raw must be a list of sources, got one string: [{raw[:20]!r}]")
    if not isinstance(raw, Iterable):
        raise TypeError(
            f"raw must be a list of sources, got one {type(raw).__name__}: [{raw!r:.40}]"
        )
    if not head.is_built:
        raise RuntimeError("the head must be fitted or loaded before it predicts")
    if batch_tokens is not None and batch_tokens < 1:
        raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}")


def _check_settings(head: TaskHead, settings: Mapping[str, Any]) -> None:
    known = set(inspect.signature(head.decode).parameters) - {"output", "batch"}
    for name in settings:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise TypeError(f"{type(head).__name__} has no decode setting {name!r} ({allowed})")
