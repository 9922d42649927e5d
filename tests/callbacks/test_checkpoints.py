from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqattn.callbacks.checkpoints import AverageCheckpoint, BestCheckpoint, mean_state


def test_the_mean_is_taken_of_floats_only() -> None:
    states = [
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(1)},
        {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(5)},
    ]
    mean = mean_state(states)
    torch.testing.assert_close(mean["w"], torch.tensor([2.0, 4.0]))
    assert mean["n"] == 5


def test_last_must_be_positive() -> None:
    with pytest.raises(ValueError, match="last must be at least 1, got 0"):
        AverageCheckpoint(0)


def test_a_resumed_run_copies_the_best_of_its_parent(tmp_path: Path) -> None:
    old = tmp_path / "old.ckpt"
    old.write_bytes(b"weights")
    best = BestCheckpoint(tmp_path / "new", "val/loss", "min")
    best.load_state_dict({"best_model_path": str(old), "best_model_score": torch.tensor(0.5)})
    assert (tmp_path / "new" / "best.ckpt").read_bytes() == b"weights"
    assert best.best_model_path == str(tmp_path / "new" / "best.ckpt")
    assert best.best_model_score == 0.5


def test_the_best_beside_the_loaded_checkpoint_is_taken_when_the_run_has_moved(
    tmp_path: Path,
) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    best = BestCheckpoint(tmp_path / "new", "val/loss", "min")
    trainer: Any = SimpleNamespace(ckpt_path=str(tmp_path / "last.ckpt"))
    best.on_load_checkpoint(trainer, None, {})  # type: ignore[arg-type]
    best.load_state_dict({"best_model_path": "/gone/best.ckpt", "best_model_score": 0.5})
    assert (tmp_path / "new" / "best.ckpt").read_bytes() == b"weights"


def test_a_score_without_its_file_is_dropped(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path / "new", "val/loss", "min")
    best.load_state_dict({"best_model_path": "/gone/best.ckpt", "best_model_score": 0.5})
    assert best.best_model_score is None


def test_a_parent_without_its_best_leaves_the_run_to_find_its_own(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path / "new", "val/loss", "min")
    best.load_state_dict({"best_model_path": "", "best_model_score": None})
    assert best.best_model_path == ""
