"""Examples to one packed batch; picklable, so that it works in any DataLoader's workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqattn.batch import Example, SequenceBatch, join_edges
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
    """

    def __init__(self, source: Vectorizer, target: TargetVectorizer | None = None) -> None:
        self.source = source
        self.target = target

    def __call__(self, items: Sequence[Item]) -> SequenceBatch:
        """Return the packed batch. No items give the empty batch, B = 0.

        Raises:
            DataError: if an example breaks a rule; names its key.
        """
        pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
        examples = [example for example, _ in pairs]
        sources = [self._vectorize(example, draw) for example, draw in pairs]
        keys = tuple(example.key or str(i) for i, example in enumerate(examples))
        lengths = [len(source.values) for source in sources]
        packing = Packing.from_lengths(lengths)
        return SequenceBatch(
            values=_pack([source.values for source in sources], self._empty_values),
            offsets=packing.offsets,
            **_pack_edges(sources, lengths, keys),
            targets=self._targets(examples, sources),
            labelled=_pack_labelled(sources),
            keys=keys,
            packing=packing,
        )

    def length(self, example: Example) -> int:
        """Return the positions that an example takes of the token budget."""
        return self.source.length(example.source)

    def _vectorize(self, example: Example, draw: int | None) -> Vectorized:
        try:
            return self.source(example.source, draw)
        except DataError:
            raise
        except (ValueError, TypeError) as error:
            raise DataError(str(error), key=example.key) from error

    def _targets(self, examples: list[Example], sources: list[Vectorized]) -> Any:
        if self.target is None:
            return None
        if examples and all(example.target is None for example in examples):
            return None if self.target.needs_raw else self._join_targets(examples, sources)
        return self._join_targets(examples, sources)

    def _join_targets(self, examples: list[Example], sources: list[Vectorized]) -> Any:
        assert self.target is not None
        rows = []
        for example, source in zip(examples, sources, strict=True):
            try:
                rows.append(self.target(example.target, source))
            except (ValueError, TypeError) as error:
                raise DataError(str(error), key=example.key) from error
        return self.target.join(rows)

    def _empty_values(self) -> Tensor:
        return self.source.empty()


def _pack(rows: Sequence[Tensor], empty: Callable[[], Tensor]) -> Tensor:
    return torch.cat(list(rows)) if rows else empty()


def _pack_edges(
    sources: Sequence[Vectorized], lengths: Sequence[int], keys: Sequence[str]
) -> dict[str, Tensor | None]:
    if not sources or sources[0].edge_index is None:
        return {}
    edges = []
    for source, key in zip(sources, keys, strict=True):
        if source.edge_index is None:
            raise DataError("edges must be given for all sequences of a batch, got None", key=key)
        edges.append((source.edge_index, source.edge_weight))
    index, weight = join_edges(edges, lengths, keys)
    columns = [source.edge_attr for source in sources if source.edge_attr is not None]
    if columns and len(columns) != len(sources):
        raise ValueError("edge_attr must be given for all sequences of a batch or for none")
    attr = torch.cat(columns) if columns else None
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
