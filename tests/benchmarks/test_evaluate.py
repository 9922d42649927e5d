from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evaluate import training_command, training_seeds


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Where a run's checkpoint would lie."""
    return tmp_path / "run" / "checkpoints" / "best.ckpt"


def test_command_and_seed_come_from_the_run_directory(checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True)
    run = checkpoint.parents[1]
    (run / "config.yaml").write_text("# seqattn fit --config configs/slots.yaml\ntrainer: {}\n")
    (run / "resolved.yaml").write_text("# seqattn fit\nseed_everything: 3\n")

    assert training_command(checkpoint) == "seqattn fit --config configs/slots.yaml"
    assert training_seeds(checkpoint) == [3]


def test_command_and_seed_are_unknown_when_the_checkpoint_lies_elsewhere(checkpoint: Path) -> None:
    assert training_command(checkpoint) == "unknown"
    assert training_seeds(checkpoint) == []
