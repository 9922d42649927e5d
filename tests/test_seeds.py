"""Seeds from seeds."""

import pytest
import torch

from seqattn.seeds import derive_seed, seeded


def test_derived_seed_depends_on_every_part_and_their_order_and_fits_63_bits() -> None:
    found = [
        derive_seed(1, 2),
        derive_seed(2, 1),
        derive_seed(12),
        derive_seed(1, 2, 0),
        derive_seed("1", "a"),
        derive_seed("a", "1"),
    ]
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
