"""Examples to one packed batch; picklable, so that it works in any DataLoader's workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from seqattn.batch import Example, SequenceBatch
from seqattn.edges import join_edge_values, join_edges
from seqattn.errors import DataError
from seqattn.packing import Packing
from seqattn.vectorizer import TargetVectorizer, Vectorized, Vectorizer

Item = Example | tuple[Example, int | None]
"""An example, alone or with the draw of its augmentation."""


class Collator:
    """Makes a :class:`SequenceBatch` of examples; holds vectorizers and no weights.

    Args:
        source: vectorizer of the front-end.
        target: vectorizer of the head's targets; None where the head has none.
        max_length: positions that the encoder takes of one sequence; None for any number.
    """

    def __init__(
        self,
        source: Vectorizer,
        target: TargetVectorizer | None = None,
        *,
        max_length: int | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.max_length = max_length

    def __call__(self, items: Sequence[Item]) -> SequenceBatch:
        """Return the packed batch. No items give the empty batch, B = 0.

        Raises:
            DataError: if an example breaks a rule; names its key.
        """
        pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
        examples = [example for example, _ in pairs]
        keys = tuple(example.key or str(i) for i, example in enumerate(examples))
        sources = [
            self._vectorize(example, draw, key)
            for (example, draw), key in zip(pairs, keys, strict=True)
        ]
        lengths = [len(source.values) for source in sources]
        packing = Packing.from_lengths(lengths)
        return SequenceBatch(
            values=_pack([source.values for source in sources], self._empty_values),
            offsets=packing.offsets,
            **_pack_edges(sources, lengths, keys),
            targets=self._targets(examples, sources, keys),
            labelled=_pack_labelled(sources),
            keys=keys,
            packing=packing,
        )

    def length(self, example: Example) -> int:
        """Return the positions that an example takes of the token budget.

        Raises:
            DataError: if its source breaks a rule, or has more positions than the encoder takes;
                names its key.
        """
        with _naming(example.key):
            length = self.source.length(example.source)
            self._require_length(length)
        return length

    def _require_length(self, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"length must be at most the encoder's max_length = {self.max_length}, its "
                f"learned positions, got {length}: raise it, or choose another position"
            )

    def _vectorize(self, example: Example, draw: int | None, key: str) -> Vectorized:
        with _naming(key):
            source = self.source(example.source, draw)
            self._require_length(len(source.values))  # augmentation may have made it longer
            _check_labelled(source)
        return source

    def _targets(
        self, examples: Sequence[Example], sources: Sequence[Vectorized], keys: Sequence[str]
    ) -> Tensor | SequenceBatch | None:
        if self.target is None:
            return None
        without = bool(examples) and all(example.target is None for example in examples)
        if without and self.target.needs_raw:
            return None
        rows = []
        for example, source, key in zip(examples, sources, keys, strict=True):
            with _naming(key):
                rows.append(self.target(example.target, source))
        return self.target.join(rows)

    def _empty_values(self) -> Tensor:
        return self.source.empty()


def _pack(rows: Sequence[Tensor], empty: Callable[[], Tensor]) -> Tensor:
    return torch.cat(list(rows)) if rows else empty()


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Name the example in an error about its data, unless the error says where already."""
    try:
        yield
    except DataError as error:
        if error.key is not None or error.path is not None:
            raise
        raise DataError(error.message, key=key) from error
    except (ValueError, TypeError) as error:
        raise DataError(str(error), key=key) from error


def _check_labelled(source: Vectorized) -> None:
    labelled, length = source.labelled, len(source.values)
    if labelled is not None and (labelled.shape != (length,) or labelled.dtype != torch.bool):
        raise ValueError(
            f"labelled must be bool of shape ({length},), "
            f"got {labelled.dtype} {tuple(labelled.shape)}"
        )


def _pack_edges(
    sources: Sequence[Vectorized], lengths: Sequence[int], keys: Sequence[str]
) -> dict[str, Tensor | None]:
    if all(source.edge_index is None for source in sources):
        return {}
    edges = []
    for source, key in zip(sources, keys, strict=True):
        if source.edge_index is None:
            raise DataError("edges must be given for all sequences of a batch, got None", key=key)
        edges.append((source.edge_index, source.edge_weight))
    index, weight = join_edges(edges, lengths, keys)
    indices = [index for index, _ in edges]
    attr = join_edge_values("edge_attr", [source.edge_attr for source in sources], indices, keys)
    return {"edge_index": index, "edge_weight": weight, "edge_attr": attr}


def _pack_labelled(sources: Sequence[Vectorized]) -> Tensor | None:
    if all(source.labelled is None for source in sources):
        return None
    return torch.cat(
        [
            torch.ones(len(source.values), dtype=torch.bool)
            if source.labelled is None
            else source.labelled
            for source in sources
        ]
    )
