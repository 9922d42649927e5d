from __future__ import annotations

import pytest

from benchmarks import joint

CONFIG = {
    "seed_everything": 4,
    "trainer": {"max_steps": 10},
    "model": {
        "class_path": "seqattn.MultiTask",
        "init_args": {
            "encoder": {"class_path": "seqattn.Encoder", "init_args": {"dim": 8}},
            "heads": {
                "a": {"class_path": "A", "init_args": {"frontend": "text"}},
                "b": {"class_path": "B", "init_args": {"frontend": "sound"}},
            },
            "weights": {"a": 2.0},
            "learning_rate": 0.1,
        },
    },
    "data": {"class_path": "seqattn.MultiData", "init_args": {"tasks": {"a": {"x": 1}, "b": {}}}},
}


def test_head_alone_keeps_encoder_data_and_settings() -> None:
    alone = joint.alone_config(CONFIG, "a")

    assert alone["model"]["class_path"] == "A"
    assert alone["model"]["init_args"] == {
        "frontend": "text",
        "encoder": {"class_path": "seqattn.Encoder", "init_args": {"dim": 8}},
        "learning_rate": 0.1,
    }
    assert alone["data"] == {"class_path": "seqattn.SequenceData", "init_args": {"x": 1}}
    assert alone["trainer"] == {"max_steps": 10}
    assert "heads" in CONFIG["model"]["init_args"]  # type: ignore[index]  # left as it was


def test_row_compares_the_head_with_itself_alone() -> None:
    row = joint.row_of("a", "test/accuracy", 0.9, 0.8, CONFIG)

    assert row.figures == {"joint": 0.9, "alone": 0.8, "ratio": pytest.approx(1.125)}
    assert row.seeds == [4]
