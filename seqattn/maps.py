"""Attention maps: the numbers of a picture of what each head of a fitted model looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from seqattn.attention.cross import CrossAttention
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.tap import head_contributions, tap_attention, tap_cross
from seqattn.batch import SequenceBatch
from seqattn.frontends.text_labels import text_labels
from seqattn.frontends.text_vectorizer import TextVectorizer
from seqattn.layers.decoder import Decoder
from seqattn.layers.slots import require_choice
from seqattn.layers.stack import LayerStack
from seqattn.predictions import batches

if TYPE_CHECKING:
    from seqattn.frontends.base import FrontEnd
    from seqattn.heads.base import TaskHead

Where = Literal["encoder", "decoder", "cross"]
Attention = MultiHeadAttention | CrossAttention


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """What chosen heads of chosen layers look at in one source; everything on the CPU.

    Rows are the positions that read, columns those that are read.

    Args:
        weights: after softmax; each row sums to 1, or is 0 where nothing may be seen.
            Shape: (layers, heads, L, L), or (layers, heads, L, M) of a cross-attention.
        row_labels: what each reading position is called, L of them.
        column_labels: what each position that is read is called, L or M of them.
        layers: number of each layer, counted from 0.
        heads: number of each head, counted from 0.
        contributions: what each head adds to each position; over all heads, and with the bias of
            the layer's output projection, they sum to the layer's update.
            Shape: (layers, heads, L, D), or None where not asked for.
        edge_index: the source's own edges, source row, then target row. Shape: (2, E), or None.
    """

    weights: Tensor
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    contributions: Tensor | None = None
    edge_index: Tensor | None = None

    @property
    def contribution_norms(self) -> Tensor | None:
        """Length of each contribution. Shape: (layers, heads, L), or None."""
        return None if self.contributions is None else self.contributions.norm(dim=-1)


def attention_maps(
    head: TaskHead,
    raw: Sequence[Any],
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    *,
    where: Where = "encoder",
    targets: Sequence[Any] | None = None,
    contributions: bool = False,
    batch_tokens: int | None = None,
) -> list[AttentionMap]:
    """Return what heads look at while the model reads each raw source.

    The model runs with the kernels it always has. For the chosen layers and heads alone the weights
    are computed a second time, by the reference, from the layers' own inputs.

    Args:
        head: a fitted head.
        raw: sources of its modality.
        layers: counted from 0, or from the end if negative; all that attend by default.
        heads: counted likewise; all by default.
        where: in the ``encoder``; in the ``decoder``, among the symbols written; or ``cross``,
            from these to the source. Their rows are named by the symbol that they write.
        targets: what is written for each source; by default the head's own prediction.
        contributions: also return what each head adds to each position.
        batch_tokens: positions per batch; 8,192 by default.

    Raises:
        IndexError: if there is no such layer or head.
        ValueError: if a layer named has no attention, or none has; if one is named twice; if
            `where` is unknown or the head has no decoder; if `targets` does not fit.
        TypeError: if `raw` is one string.
        RuntimeError: if the head has no vocabulary yet.
        DataError: if a source breaks a rule; names its place in `raw`.
    """
    chosen, numbers = choose_heads(stack_of(head, where), layers, heads, cross=where == "cross")
    if where != "encoder":
        targets = _written(head, raw, batch_tokens) if targets is None else targets
    if targets is not None and (where == "encoder" or len(targets) != len(raw)):
        raise ValueError(
            "targets must be one per source, and for the decoder only, "
            f"got {len(targets)} for {len(raw)} sources and where={where!r}"
        )
    maps: dict[int, AttentionMap] = {}
    for indices, batch in batches(head, raw, batch_tokens, targets):
        taps = [_Tap(attention, numbers, contributions) for attention in chosen.values()]
        with _listening(taps):
            inputs = _run(head, batch, where)
        for place, index in enumerate(indices):
            weights = torch.stack([tap.weights[place] for tap in taps])  # (layers, heads, L, M)
            rows, columns = _axes(head, raw[index], batch, place, weights, where)
            maps[index] = AttentionMap(
                weights=weights,
                row_labels=rows,
                column_labels=columns,
                layers=tuple(chosen),
                heads=numbers,
                contributions=torch.stack([tap.changes[place] for tap in taps])
                if contributions
                else None,
                edge_index=_own_edges(inputs, place),
            )
    return [maps[index] for index in range(len(raw))]


def choose_heads(
    stack: LayerStack,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    *,
    cross: bool = False,
) -> tuple[dict[int, Attention], tuple[int, ...]]:
    """Return the attention of each layer asked for, by its number, and the heads' numbers.

    Args:
        stack: encoder or decoder.
        layers: counted from 0, or from the end if negative; all that attend by default.
        heads: counted likewise; all by default.
        cross: a decoder's cross-attentions, instead of those within the sequence.

    Raises:
        IndexError: if there is no such layer or head.
        ValueError: if a layer named has no attention, or none has; if one is named twice.
    """
    chosen = _choose_layers(stack, layers, "cross" if cross else "mixer")
    count = next(iter(chosen.values())).heads
    return chosen, _in_range("heads", range(count) if heads is None else heads, count)


def stack_of(head: TaskHead, where: Where) -> LayerStack:
    """Return the part of a head whose layers are looked at.

    Raises:
        ValueError: if there is no such part.
    """
    require_choice("where", where, ("encoder", "decoder", "cross"))
    if where == "encoder":
        return head.encoder
    decoder = getattr(head, "decoder", None)
    if not isinstance(decoder, Decoder):
        raise ValueError(f"where={where!r} needs a head with a decoder, got {type(head).__name__}")
    return decoder


def _written(head: TaskHead, raw: Sequence[Any], batch_tokens: int | None) -> list[Any]:
    """Return the best prediction for each source, where the head gives several too."""
    found = []
    for prediction in head.predict(raw, batch_tokens=batch_tokens):
        is_ranked = isinstance(prediction, list) and any(isinstance(p, dict) for p in prediction)
        found.append(prediction[0]["output"] if is_ranked else prediction)
    return found


def _run(head: TaskHead, batch: SequenceBatch, where: Where) -> SequenceBatch | None:
    """Compute what the taps listen to; return what the front-end gave, for the encoder's maps."""
    if where != "encoder":
        head(batch)
        return None
    inputs: SequenceBatch = head.frontend(batch)
    head.encode_inputs(inputs)
    return inputs


class _Tap:
    """Listens to one layer, and keeps what its heads do in each sequence, on the CPU.

    It computes inside the layer's call, where a sharded model has the layer's weights together.
    """

    def __init__(self, attention: Attention, heads: Sequence[int], contributions: bool) -> None:
        self.attention = attention
        self.heads = heads
        self.contributions = contributions
        self.weights: list[Tensor] = []
        self.changes: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Take the inputs of the layer's call."""
        if isinstance(self.attention, CrossAttention):
            x, memory, pairs = inputs
            readings = tap_cross(self.attention, x, memory, pairs, self.heads)
        else:
            x, layout = inputs
            readings = tap_attention(self.attention, x, layout, self.heads)
        for found in readings:
            self.weights.append(found.weights.cpu())
            if self.contributions:
                changes = head_contributions(self.attention, found.outputs, self.heads)
                self.changes.append(changes.cpu())


@contextmanager
def _listening(taps: Sequence[_Tap]) -> Iterator[None]:
    """Let each tap hear the calls of its layer while the block runs."""
    handles = [tap.attention.register_forward_hook(tap) for tap in taps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _choose_layers(
    stack: LayerStack, layers: Sequence[int] | None, part: Literal["mixer", "cross"]
) -> dict[int, Attention]:
    attending = {
        number: attention
        for number, attention in enumerate(getattr(layer, part) for layer in stack.layers)
        if isinstance(attention, Attention)
    }
    if layers is None and not attending:
        mixers = ", ".join(repr(slots.mixer) for slots in stack.slots)
        raise ValueError(f"attention maps need a layer with attention, got mixers {mixers}")
    if layers is None:
        return attending
    chosen = _in_range("layers", layers, len(stack.layers))
    for number in chosen:
        if number not in attending:
            raise ValueError(
                f"layers must name layers with attention ({', '.join(map(str, attending))}), "
                f"got {number}, whose mixer is {stack.slots[number].mixer!r}"
            )
    return {number: attending[number] for number in chosen}


def _in_range(name: str, numbers: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the numbers counted from 0; refuse what is out of range, missing or doubled."""
    for number in numbers:
        if not -count <= number < count:
            raise IndexError(f"{name} must lie in {-count} … {count - 1}, got {number}")
    chosen = tuple(number % count for number in numbers)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"{name} must name at least one and none twice, got {list(numbers)}")
    return chosen


def _axes(
    head: TaskHead, raw: Any, batch: SequenceBatch, place: int, weights: Tensor, where: Where
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the rows and the columns of one map are called."""
    rows, columns = weights.shape[-2:]
    if where == "encoder":
        labels = _labels(head.frontend, raw, columns)
        return labels, labels
    symbols = _symbols(head, batch, place)
    written = (*symbols, "END")[:rows]
    if where == "decoder":
        return written, ("BEGIN", *symbols)[:columns]
    return written, _labels(head.frontend, raw, columns)


def _symbols(head: TaskHead, batch: SequenceBatch, place: int) -> tuple[str, ...]:
    """Return the name of each target symbol of one sequence."""
    targets, vectorizer = batch.targets, head.target_vectorizer
    assert isinstance(targets, SequenceBatch)
    ids = torch.split(targets.values, list(targets.packing.lengths))[place].tolist()
    names = [vectorizer.decode([number]) for number in ids]  # type: ignore[union-attr]
    return tuple(name if isinstance(name, str) else "".join(map(str, name)) for name in names)


def _labels(frontend: FrontEnd, raw: Any, length: int) -> tuple[str, ...]:
    """Return what each position is called: by its front-end, by its token, or by its number."""
    found: Sequence[str] = ()
    name_positions = getattr(frontend, "position_labels", None)
    if name_positions is not None:
        found = name_positions(raw)
    elif isinstance(frontend.vectorizer, TextVectorizer):
        found = text_labels(frontend.vectorizer, raw)
    return tuple(found) if len(found) == length else tuple(map(str, range(length)))


def _own_edges(batch: SequenceBatch | None, place: int) -> Tensor | None:
    """Return the edges of one sequence, local to it, on the CPU. Shape: (2, E), or None."""
    if batch is None or batch.edge_index is None:
        return None
    start = sum(batch.packing.lengths[:place])
    own = batch.sequence_ids[batch.edge_index[0]] == place
    return (batch.edge_index[:, own] - start).cpu()
