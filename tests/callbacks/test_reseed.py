from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqattn.callbacks.reseed import Reseed, mix, seeded


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


def test_mix_depends_on_every_part_and_their_order_and_fits_63_bits() -> None:
    found = [mix(1, 2), mix(2, 1), mix(12), mix(1, 2, 0), mix("1", "a"), mix("a", "1")]
    assert len(set(found)) == len(found)
    assert all(0 <= seed < 2**63 for seed in found)


def test_seeded_draws_the_same_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    before = torch.get_rng_state()
    drawn = []
    for name in ("build", "build", "other"):
        with seeded(name):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_changes_nothing_without_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded("build"):
        assert torch.equal(torch.rand(2), expected)
