"""Damaged sounds in training data that processes share: the example stays, its label does not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from seqattn import AudioFrontEnd, Encoder, Example, SequenceClassification, SequenceData
from seqattn.data import Reader
from tests.frontends.sounds import RATE, cut, flip, hiss, tone, write
from tests.heads.small_heads import QUIET

WHOLE, DAMAGED = 14, 7


class SoundFolder(Reader):
    """Whole and damaged files of a folder, and a waveform with a sample that is no number."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Iterator[Example]:
        for path in sorted(Path(self.path).iterdir()):
            yield Example(str(path), path.name[0], path.name)
        broken = hiss(4000)
        broken[7] = np.nan
        yield Example((broken, RATE), "h", "waveform")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Hisses and tones of many lengths, and six files that are damaged in six ways."""
    place = tmp_path / "sounds"
    place.mkdir()
    for number in range(WHOLE // 2):
        write(place / f"h{number}.wav", hiss(800 * (number + 2), number))
        write(place / f"t{number}.wav", tone(0.1 * (number + 2)))
    cut(write(place / "h_cut.wav", hiss(8000)), 0.5)
    cut(write(place / "h_cut.flac", hiss(8000)), 0.5)
    cut(write(place / "h_cut.mp3", hiss(8000)), 0.5)
    flip(write(place / "t_flipped.flac", hiss(8000)), 0.7)
    flip(write(place / "t_flipped.ogg", hiss(8000)), 0.7)
    (place / "t_empty.wav").write_bytes(b"")
    return str(place)


def trained(folder: str, corrupt: Literal["skip", "pad"]) -> tuple[Any, SequenceData]:
    """Train and validate for an epoch."""
    frontend = AudioFrontEnd(RATE, mels=12, channels=4, corrupt=corrupt)
    head = SequenceClassification(frontend, Encoder(8, 1, 2))
    data = SequenceData(train=SoundFolder(folder), val=SoundFolder(folder), batch_tokens=150)
    Trainer(**QUIET, max_epochs=1, default_root_dir=folder).fit(head, data)
    return head.eval(), data


@pytest.mark.parametrize(("corrupt", "counted"), [("skip", WHOLE), ("pad", WHOLE + DAMAGED)])
@pytest.mark.parametrize("split", ["train", "val"])
def test_two_processes_have_equally_many_batches_when_sounds_are_damaged(
    folder: str, split: str, corrupt: Any, counted: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        head, data = trained(folder, corrupt)
        ranks = [list(data.make_loader(split, data.share(split, rank, 2))) for rank in range(2)]
        alone = list(data.make_loader(split, data.share(split, 0, 1)))
        losses = [head.step(batch, "train").sums() for batches in ranks for batch in batches]
    assert len(ranks[0]) == len(ranks[1]) == -(-len(alone) // 2) > 1
    keys = [key for batches in ranks for batch in batches for key in batch.keys]
    assert sorted(keys) == sorted(example.key for example in data.examples(split))
    assert len(keys) == WHOLE + DAMAGED
    assert sum(float(weight) for _, weight in losses) == counted
    assert all(bool(torch.isfinite(total)) for total, _ in losses)


def test_every_damaged_sound_is_reported_once_when_training_on_them(folder: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(folder, "skip")
    found = [str(w.message) for w in caught if "the sound is skipped" in str(w.message)]
    assert len(found) == len(set(found)) == DAMAGED
