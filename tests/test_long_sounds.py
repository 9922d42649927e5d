"""A long sound is predicted in pieces; an hour takes no more memory than a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning import seed_everything
from lightning.pytorch import Trainer

from seqattn import (
    AudioClip,
    AudioFrontEnd,
    Encoder,
    Example,
    SequenceClassification,
    SequenceData,
    TokenLabeling,
)
from seqattn.callbacks.prediction_writer import PredictionWriter
from seqattn.data import Reader
from tests.heads.small_heads import QUIET, build_on

RATE = 8000


def write_sound(path: Path, seconds: int) -> str:
    """Write noise that is loud and quiet by turns of 0.7 seconds, a stretch at a time."""
    import soundfile

    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for start in range(0, seconds, 10):
            noise = 0.1 * generator.standard_normal(min(10, seconds - start) * RATE)
            places = start * RATE + np.arange(len(noise))
            file.write(noise * np.where(places // (0.7 * RATE) % 2, 1.0, 0.1))
    return str(path)


def small(make: Any, target: Any) -> Any:
    """An untrained head whose positions see half a second around them, fitted on a little noise."""
    seed_everything(0, verbose=False)
    noise = np.random.default_rng(1).normal(0, 0.05, RATE).astype(np.float32)
    frontend = AudioFrontEnd(RATE, mels=8, subsampling=4, channels=2, piece_seconds=12.0)
    encoder = Encoder(8, 1, 1, mixer="convolution", position="none")
    return build_on(make(frontend, encoder), [Example((noise, RATE), target)])


def labeler() -> Any:
    return small(TokenLabeling, [(0.0, 0.3, "a"), (0.3, 0.6, "b")])


def test_segments_are_those_of_the_whole_sound(tmp_path: Path) -> None:
    head = labeler()
    path = write_sound(tmp_path / "a.wav", 47)
    raw = [path, AudioClip(path, 3.0, 40.0)]
    in_pieces = head.predict(raw)
    head.frontend.vectorizer.piece_seconds = 60.0
    assert in_pieces == head.predict(raw)
    assert len(in_pieces[0]) > 47


def test_scores_are_the_mean_of_the_pieces(tmp_path: Path) -> None:
    head = small(SequenceClassification, "a")
    head.target_vectorizer.load_state({"labels": ["a", "b"], "counts": [1, 1]})
    head.output = head.build_output(8)
    path = write_sound(tmp_path / "a.wav", 20)
    whole, first, last = head.predict([path, AudioClip(path, 0.0, 12.0), AudioClip(path, 10.0)])
    for label, score in whole["scores"].items():
        expected = 12 / 22 * first["scores"][label] + 10 / 22 * last["scores"][label]
        assert score == pytest.approx(expected, abs=1e-6)


class SoundFile(Reader):
    """One sound, without a label."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Iterator[Example]:
        yield Example(self.path, key=self.path)


def by_head(head: Any, path: str) -> None:
    head.predict([path], batch_tokens=1200)


def by_trainer(head: Any, path: str, directory: str) -> None:
    """Predict as the command does."""
    runner = Trainer(**QUIET, default_root_dir=directory, callbacks=[PredictionWriter()])
    data = SequenceData(predict=SoundFile(path), batch_tokens=1200)
    runner.predict(head, datamodule=data, return_predictions=False)


def test_trainer_writes_what_the_head_predicts(tmp_path: Path) -> None:
    head, path = labeler(), write_sound(tmp_path / "a.wav", 47)
    by_trainer(head, path, str(tmp_path))
    (line,) = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line) == {"key": path, "prediction": head.predict([path])[0]}


PEAKS = """
import resource, sys
import torch
from tests.test_long_sounds import by_head, by_trainer, labeler

torch.set_num_threads(1)
head = labeler()
for path in sys.argv[2:]:
    by_head(head, path)
    by_trainer(head, path, sys.argv[1])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    paths = [write_sound(tmp_path / f"{seconds}.wav", seconds) for seconds in (60, 3600)]
    command = [sys.executable, "-c", PEAKS, str(tmp_path), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    short, long = map(int, done.stdout.split())  # kilobytes; bytes on macOS
    samples = 3600 * RATE * 4 / (1 if sys.platform == "darwin" else 1024)
    assert long - short < samples / 12
