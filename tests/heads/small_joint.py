"""Two small tasks on one encoder, and their data: shared by the tests of joint training.

Run as a script it is one process of a distributed run: ``small_joint.py DEVICES FILE``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

from seqattn import (
    Encoder,
    Example,
    MultiData,
    MultiTask,
    SequenceClassification,
    SequenceData,
    TextFrontEnd,
    TokenLabeling,
)
from seqattn.data import Reader
from tests.heads.small_heads import QUIET, encoder, frontend, labelled, tagged

LENGTHS = (5, 1, 3, 8, 2, 4, 7, 6, 3, 9, 1, 6, 5)
TEXTS = ("a cat", "the old mat", "sat on", "red", "a red mat sat", "the cat sat on a mat", "old")


class Given(Reader):
    """The examples of one of the two tasks."""

    def __init__(self, task: str) -> None:
        self.task = task

    def read(self) -> Iterator[Example]:
        yield from (tagged(LENGTHS) if self.task == "tags" else labelled(TEXTS))


def joint(**arguments: Any) -> MultiTask:
    """Return an unfitted joint model without dropout."""
    shared = encoder()
    kinds = partial(SequenceClassification, frontend(), dropout=0.0)
    heads = {"tags": TokenLabeling(frontend(), shared), "kinds": kinds}
    return MultiTask(shared, heads, **{"warmup_steps": 0, **arguments})


def random_joint(**arguments: Any) -> MultiTask:
    """Return an unfitted joint model that draws random numbers wherever it can."""
    shared = Encoder(16, 2, 2, dropout=0.3, attention_dropout=0.1)
    text = partial(TextFrontEnd, character_dim=4, dropout=0.2, word_dropout=0.2)
    heads = {
        "tags": TokenLabeling(text(), shared),
        "kinds": SequenceClassification(text(), shared, dropout=0.2),
    }
    return MultiTask(shared, heads, **{"warmup_steps": 0, "learning_rate": 0.01, **arguments})


def joint_data(tags: int = 12, kinds: int = 7, **arguments: Any) -> MultiData:
    """Return the data of both tasks, with a token budget for each."""
    budgets = {"tags": tags, "kinds": kinds}
    return MultiData(
        {
            name: SequenceData(Given(name), Given(name), Given(name), batch_tokens=budget)
            for name, budget in budgets.items()
        },
        **arguments,
    )


def main(devices: int, path: str) -> None:
    """Train on one or two processes, and save weights and metrics."""
    seed_everything(7)
    model = random_joint(weights={"kinds": 0.3})
    trainer = Trainer(
        **QUIET,
        precision="64-true",  # sums of other orders differ by less than Adam can make large
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=2 // devices,
        max_epochs=2,
    )
    trainer.fit(model, joint_data())
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save({"weights": model.state_dict(), "metrics": metrics}, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2])
