"""Text, audio and graphs in; labels per position, a label per sequence and a sequence out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import seqattn
from seqattn import (
    AudioFrontEnd,
    Decoder,
    Encoder,
    Example,
    Graph,
    GraphFrontEnd,
    Seq2Seq,
    SequenceClassification,
    TaskHead,
    TextFrontEnd,
    TokenLabeling,
)
from tests.heads.small_heads import trainer

ROOT = Path(__file__).parents[1]
MODALITIES = ("text", "audio", "graph")
OUTPUTS = ("positions", "sequence_label", "sequence")
CELLS = [(modality, out) for modality in MODALITIES for out in OUTPUTS]
RATE = 1000
SIZES = (2, 5, 3)


def source(modality: str, size: int) -> Any:
    if modality == "text":
        return ["the", "old", "cat", "sat", "on"][:size]
    if modality == "audio":
        samples = np.sin(np.arange(size * RATE // 10) * (0.1 * size))
        return samples.astype(np.float32), RATE
    chain = [[node, node + 1] for node in range(size - 1)]
    index = np.array(chain, dtype=np.int64).reshape(-1, 2).T
    return Graph(size, index, features=np.arange(size, dtype=np.float32)[:, None])


def target(modality: str, out: str, size: int) -> Any:
    if out == "sequence":
        return "ab" * size
    if out == "sequence_label":
        return "odd" if size % 2 else "even"
    if modality == "audio":
        return [(0.0, 0.1, "low"), (0.1, size / 10, "high")]
    return ["first", *["later"] * (size - 1)]


def examples(modality: str, out: str) -> list[Example]:
    return [Example(source(modality, n), target(modality, out, n), f"{n}") for n in SIZES]


def head(modality: str, out: str) -> TaskHead:
    front: Any = {
        "text": lambda: TextFrontEnd(character_dim=4, dropout=0.0),
        "audio": lambda: AudioFrontEnd(
            RATE, window_ms=16.0, hop_ms=8.0, mels=8, subsampling=2, channels=4, dropout=0.0
        ),
        "graph": lambda: GraphFrontEnd(dropout=0.0),
    }[modality]()
    encoder = Encoder(16, 1, 2, position="none", dropout=0.0)
    if out == "positions":
        return TokenLabeling(front, encoder, warmup_steps=0)
    if out == "sequence_label":
        return SequenceClassification(front, encoder, warmup_steps=0, dropout=0.0)
    decoder = Decoder(16, 1, 2, dropout=0.0)
    return Seq2Seq(
        front, encoder, decoder, target_units="character", max_length=4, warmup_steps=0, width=2
    )


def predict(folder: Path) -> dict[str, Any]:
    """Return what the saved head of each cell predicts, every number rounded."""
    found = {}
    for modality, out in CELLS:
        settings = {"n_best": 2} if out == "sequence" else {}
        sources = [source(modality, size) for size in SIZES]
        loaded = seqattn.load(folder / f"{modality}-{out}.ckpt")
        found[f"{modality}-{out}"] = loaded.predict(sources, **settings)
    rounded = json.loads(json.dumps(found), parse_float=lambda number: round(float(number), 4))
    assert isinstance(rounded, dict)
    return rounded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each cell, after an epoch of training and validation."""
    place = tmp_path_factory.mktemp("cells")
    for modality, out in CELLS:
        torch.manual_seed(0)
        model = head(modality, out)
        data = DataLoader(examples(modality, out), batch_size=2, collate_fn=model.collate)
        runner = trainer(max_epochs=2)
        runner.fit(model, data, data)
        assert model.monitor[0] in runner.callback_metrics
        runner.save_checkpoint(place / f"{modality}-{out}.ckpt")
    return place


@pytest.fixture(scope="module")
def fresh(folder: Path) -> dict[str, Any]:
    """What a fresh process predicts, which knows nothing but the checkpoints."""
    code = (
        "import json, pathlib, sys; from tests.test_nine_cells import predict; "
        "print(json.dumps(predict(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def here(folder: Path) -> dict[str, Any]:
    """What this process predicts."""
    return predict(folder)


@pytest.mark.parametrize(("modality", "out"), CELLS)
def test_fresh_process_predicts_what_was_saved(
    modality: str, out: str, here: dict[str, Any], fresh: dict[str, Any]
) -> None:
    cell = f"{modality}-{out}"
    assert fresh[cell] == here[cell]
    assert len(fresh[cell]) == len(SIZES)


@pytest.mark.parametrize("modality", MODALITIES)
def test_predictions_have_the_form_of_their_head(modality: str, fresh: dict[str, Any]) -> None:
    for size, labels in zip(SIZES, fresh[f"{modality}-positions"], strict=True):
        if modality == "audio":
            assert all(end > start >= 0 for start, end, _ in labels)
        else:
            assert len(labels) == size
    for label in fresh[f"{modality}-sequence_label"]:
        assert set(label["scores"]) == {"odd", "even"}
    for ranked in fresh[f"{modality}-sequence"]:
        assert len(ranked) == 2
        scores = {
            kind: [o["score"] for o in ranked if o["finished"] is kind] for kind in (True, False)
        }
        assert all(row == sorted(row, reverse=True) for row in scores.values())
        assert all(set(one["output"]) <= {"a", "b"} for one in ranked)
