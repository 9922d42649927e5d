"""Trains a head in one or two processes and saves what came of it; run by test_trained_module."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader, Sampler

from seqattn import Encoder, Example, TextFrontEnd, TokenLabeling

LENGTHS = [5, 1, 3, 8, 2, 4, 7, 6, 3]
PLAN = [[0, 1], [2, 3], [4], [5, 6], [7, 8]]
TAGS = ["B-a", "I-a", "O", "B-b"]


class Every(Sampler[list[int]]):
    """Micro-batches rank, rank + W, …; empty ones fill the last round."""

    def __init__(self, size: int) -> None:
        self.rank, self.size = int(os.environ.get("LOCAL_RANK", 0)), size

    def __len__(self) -> int:
        return -(-len(PLAN) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.rank, len(self) * self.size, self.size):
            yield PLAN[number] if number < len(PLAN) else []


class Counted(TokenLabeling):
    """Notes which process fitted the vectorizers."""

    fitted_by: list[int] = []

    def fit_vectorizers(self, *arguments: Any) -> None:
        self.fitted_by.append(self.global_rank)
        super().fit_vectorizers(*arguments)


def main(devices: int, path: str) -> None:
    seed_everything(7)
    examples = [
        Example([f"w{i + j}" for j in range(n)], [TAGS[(i * j) % 4] for j in range(n)], str(i))
        for i, n in enumerate(LENGTHS)
    ]
    head = Counted(
        TextFrontEnd(character_dim=4, dropout=0.2, word_dropout=0.2),
        Encoder(16, 2, 2, dropout=0.3, attention_dropout=0.1),
        warmup_steps=0,
        learning_rate=0.01,
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=2 // devices,
        max_epochs=2,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    batches: Any = DataLoader(examples, batch_sampler=Every(devices), collate_fn=head.collate)
    trainer.fit(head, batches, batches)
    fitted = [rank for ranks in gather(trainer, head.fitted_by) for rank in ranks]
    if trainer.is_global_zero:
        found = {
            "weights": head.state_dict(),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "fitted_by": json.dumps(fitted),
        }
        torch.save(found, path)


def gather(trainer: Trainer, value: list[int]) -> list[list[int]]:
    """Return the value of every process."""
    if trainer.world_size == 1:
        return [value]
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, value)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2])
