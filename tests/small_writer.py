"""A small head that writes a sequence, which the tests of a decoder's maps share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from seqattn import Decoder, Loss, Output, Packing, SequenceBatch, TaskHead
from seqattn.heads.output import cross_entropy
from seqattn.vectorizer import TargetVectorizer, Vectorized


class Letters(TargetVectorizer):
    """Letters a to h as 0 to 7; 8 begins and ends."""

    is_fitted = True  # type: ignore[assignment]

    def fit(self, targets: Iterable[Any]) -> None:
        pass

    def __call__(self, raw: str, source: Vectorized) -> Tensor:
        return torch.tensor([ord(letter) - ord("a") for letter in raw], dtype=torch.int64)

    def join(self, rows: Sequence[Tensor]) -> SequenceBatch:
        return SequenceBatch.from_list(list(rows))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + number) for number in ids)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass


class Writer(TaskHead):
    """Reads BEGIN y1 … yn and gives y1 … yn END; writes the same letters for every source."""

    def __init__(self, frontend: Any, encoder: Any, decoder: Decoder) -> None:
        super().__init__(frontend, encoder, warmup_steps=0)
        self.decoder = decoder

    def make_target_vectorizer(self) -> Letters:
        return Letters()

    def build_output(self, dim: int) -> nn.Module:
        self.embedding = nn.Embedding(9, dim)
        return nn.Linear(dim, 9)

    def build_metrics(self) -> MetricCollection:
        return MetricCollection({})

    def forward(self, batch: SequenceBatch) -> Output:
        memory, inputs = self.encode(batch)
        targets = batch.targets
        rows: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(batch)
        if isinstance(targets, SequenceBatch):
            rows = list(torch.split(targets.values, list(targets.packing.lengths)))
        begun = [torch.cat([row.new_tensor([8]), row]) for row in rows]
        packing = Packing.from_lengths([len(row) for row in begun])
        y = self.embedding(torch.cat(begun))
        out = self.decoder(
            *(y, packing.offsets, memory, inputs.offsets),
            packing=packing,
            memory_packing=inputs.packing,
        )
        return Output(self.output(out), packing.offsets, memory, inputs)

    def loss(self, output: Output, batch: SequenceBatch) -> Loss:
        return cross_entropy(output.logits, output.logits.argmax(-1))

    def decode(self, output: Output, batch: SequenceBatch, *, n_best: int = 1) -> list[Any]:
        found = [{"output": "abc", "score": 0.0, "finished": True}] * n_best
        return ["abc" if n_best == 1 else found for _ in batch.keys]
