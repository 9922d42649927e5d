from types import SimpleNamespace
from typing import Any

import torch

from seqattn.callbacks.reseed import Reseed


def draw(batch: int, *, rank: int = 0, size: int = 1, epoch: int = 0) -> float:
    """What torch draws in a micro-batch, whatever it drew before."""
    torch.rand(3)
    trainer: Any = SimpleNamespace(world_size=size, global_rank=rank, current_epoch=epoch)
    callback = Reseed()
    callback.on_train_start(trainer, None)  # type: ignore[arg-type]
    callback.on_train_batch_start(trainer, None, None, batch)  # type: ignore[arg-type]
    return float(torch.rand(()))


def test_draws_depend_on_the_place_in_training_only() -> None:
    assert draw(5) == draw(5)
    assert len({draw(5), draw(6), draw(5, epoch=1), draw(6, epoch=1)}) == 4


def test_two_processes_draw_what_one_draws_in_twice_the_batches() -> None:
    one = [draw(batch) for batch in range(4)]
    two = [draw(batch, rank=rank, size=2) for batch in range(2) for rank in range(2)]
    assert one == two


def test_draws_depend_on_the_seed(monkeypatch: Any) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    one = draw(0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")
    assert draw(0) != one
