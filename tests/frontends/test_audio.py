from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqattn import (
    AudioClip,
    AudioFrontEnd,
    Encoder,
    Example,
    SequenceBatch,
    SequenceClassification,
)
from seqattn.collate import Collator
from seqattn.recorded import build
from tests.frontends.sounds import RATE, hiss, tone, write

DIM = 8


def made(device: torch.device | str = "cpu", **arguments: Any) -> AudioFrontEnd:
    torch.manual_seed(0)
    frontend = AudioFrontEnd(RATE, **{"mels": 12, "channels": 4, "dropout": 0.0, **arguments})
    frontend.vectorizer.fit([(hiss(4000), RATE), (tone(0.5), RATE)])
    frontend.build(DIM)
    return frontend.to(device)


def batch_of(frontend: AudioFrontEnd, counts: tuple[int, ...] = (4000, 80, 1200)) -> SequenceBatch:
    """Sounds of 50, 1 and 15 frames."""
    sources = [(hiss(count, seed), RATE) for seed, count in enumerate(counts)]
    return Collator(frontend.vectorizer)([Example(source) for source in sources])


@pytest.mark.parametrize("reduction", ["convolution", "residual", "patches"])
@pytest.mark.parametrize("subsampling", [1, 2, 4, 8])
def test_sounds_are_shortened_and_independent(
    reduction: Any, subsampling: int, device: torch.device
) -> None:
    frontend = made(device, reduction=reduction, subsampling=subsampling).eval()
    batch = batch_of(frontend)
    together = frontend(batch.to(device))
    assert together.values.shape[1] == DIM
    assert together.keys == batch.keys
    assert list(together.packing.lengths) == [-(-n // subsampling) for n in (50, 1, 15)]
    assert together.lengths.tolist() == list(together.packing.lengths)
    alone = []
    for seed, count in enumerate((4000, 80, 1200)):
        own = Collator(frontend.vectorizer)([Example((hiss(count, seed), RATE))])
        alone.append(frontend(own.to(device)).values)
    torch.testing.assert_close(together.values, torch.cat(alone), atol=1e-6, rtol=0)


def test_one_encoder_takes_sounds_each_by_itself(device: torch.device) -> None:
    frontend, encoder = made(device), Encoder(DIM, 2, 2).to(device).eval()
    short = frontend(batch_of(frontend).to(device))
    together = encoder(short.values, short.offsets, packing=short.packing)
    first = frontend(batch_of(frontend, (4000,)).to(device))
    alone = encoder(first.values, first.offsets, packing=first.packing)
    torch.testing.assert_close(together[: len(alone)], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("columns", [(), (3,)])
def test_targets_per_frame_become_those_at_the_centres(columns: tuple[int, ...]) -> None:
    frontend = made()
    batch = batch_of(frontend, (400, 80, 240))  # 5, 1 and 3 frames, numbered 0 … 8
    numbers = torch.arange(9).view(-1, *[1] * len(columns)).expand(9, *columns)
    labelled = torch.tensor([True, True, False, True, True, True, False, True, True])
    short = frontend(batch.replace(targets=numbers, labelled=labelled))
    rows = [2, 4, 5, 8]  # of 0-3, 4, 5 and 6-8
    assert short.targets[:, 0].tolist() == rows if columns else short.targets.tolist() == rows
    assert short.labelled.tolist() == [False, True, True, True]


def test_targets_per_sequence_and_target_sequences_stay() -> None:
    frontend = made()
    batch = batch_of(frontend)
    targets = SequenceBatch.from_list([torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([4])])
    for given in (torch.tensor([3, 1, 2]), torch.rand(3, 4), targets, None):
        short = frontend(batch.replace(targets=given))
        assert short.targets is given
        assert short.labelled is None


def test_targets_stay_when_every_sound_has_one_frame() -> None:
    frontend = made()
    batch = batch_of(frontend, (80, 10, 40))
    given = torch.tensor([7, 8, 9])
    assert frontend(batch.replace(targets=given)).targets.tolist() == [7, 8, 9]


def test_nothing_else_changes_without_subsampling() -> None:
    frontend = made(subsampling=1)
    batch = batch_of(frontend).replace(targets=torch.arange(66), labelled=torch.ones(66).bool())
    out = frontend(batch)
    assert out.packing is batch.packing
    assert out.targets is batch.targets
    assert out.labelled is batch.labelled
    assert frontend.keeps_positions
    assert not made(subsampling=2).keeps_positions


def test_an_empty_batch_passes_and_reaches_every_weight() -> None:
    frontend = made()
    out = frontend(Collator(frontend.vectorizer)([]))
    assert (len(out), out.values.shape) == (0, (0, DIM))
    out.values.sum().backward()
    assert all(parameter.grad is not None for parameter in frontend.parameters())


def test_values_are_cast_to_the_type_of_the_weights() -> None:
    frontend = made(embedding_norm=True).to(torch.bfloat16)
    assert frontend(batch_of(frontend)).values.dtype == torch.bfloat16


def test_forward_reads_nothing_back_from_the_device() -> None:
    frontend = made()
    batch = batch_of(frontend).replace(targets=torch.arange(66), labelled=torch.ones(66).bool())
    out = frontend.to("meta")(batch.to("meta"))
    assert out.values.shape == (13 + 1 + 4, DIM)
    assert out.targets.shape == out.labelled.shape == (18,)


def test_seconds_of_a_position_and_their_names(tmp_path: Path) -> None:
    frontend = made()
    assert frontend.vectorizer.frame_seconds == 0.01
    assert frontend.output_seconds == 0.04
    clip = AudioClip(write(tmp_path / "a.wav", tone(0.5)), 0.1, 0.2)
    assert frontend.position_labels(clip) == ["0.02", "0.06", "0.10"]
    assert len(frontend(batch_of(frontend, (800,))).values) == 3


def test_settings_are_given_in_milliseconds_and_hertz() -> None:
    frontend = AudioFrontEnd(16_000, window_ms=32.0, hop_ms=8.0, mels=64, low_hz=50.0)
    features = frontend.vectorizer.features
    assert (features.rate, features.window, features.hop, features.mels) == (16_000, 512, 128, 64)
    assert (features.low_hz, features.high_hz) == (50.0, 8000.0)
    assert AudioFrontEnd(high_hz=4000.0).vectorizer.features.high_hz == 4000.0


def test_augmentation_and_policy_reach_the_vectorizer(tmp_path: Path) -> None:
    vectorizer = AudioFrontEnd(
        crop_share=0.1,
        silence_seconds=0.2,
        speeds=[0.9, 1.1],
        vocal_tract=0.3,
        equalizer_db=4.0,
        noise_folder="noise",
        colored_noise=True,
        noise_snr=(0.0, 10.0),
        room_folder="rooms",
        time_masks=1,
        time_mask_share=0.3,
        frequency_masks=2,
        frequency_mask_share=0.4,
        corrupt="pad",
        piece_seconds=30.0,
    ).vectorizer
    augmentation = vectorizer.augmentation
    assert [float(speed) for speed in augmentation.speeds] == [0.9, 1.1]
    assert (augmentation.crop_share, augmentation.silence_seconds) == (0.1, 0.2)
    assert (augmentation.vocal_tract, augmentation.equalizer_db) == (0.3, 4.0)
    assert augmentation.colored_noise
    assert augmentation.noise is not None
    assert augmentation.rooms is not None
    assert (augmentation.noise.path, augmentation.rooms.path) == ("noise", "rooms")
    assert augmentation.noise_snr == (0.0, 10.0)
    assert (augmentation.time_masks, augmentation.time_mask_share) == (1, 0.3)
    assert (augmentation.frequency_masks, augmentation.frequency_mask_share) == (2, 0.4)
    assert (vectorizer.corrupt, vectorizer.piece_seconds) == ("pad", 30.0)


def test_a_front_end_is_made_again_from_its_record() -> None:
    frontend = made(subsampling=8, speeds=[0.9, 1.1], noise_snr=(1.0, 2.0))
    again = build(frontend.spec)
    assert isinstance(again, AudioFrontEnd)
    assert again.spec == frontend.spec
    again.vectorizer.load_state(frontend.vectorizer.state())
    again.build(DIM)
    again.load_state_dict(frontend.state_dict())
    batch = batch_of(frontend)
    torch.testing.assert_close(again(batch).values, frontend(batch).values, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("argument", "rule"),
    [
        ({"subsampling": 3}, "subsampling must be 1, 2, 4 or 8, or for patches any .* got 3"),
        ({"subsampling": 0, "reduction": "patches"}, "subsampling must be .* got 0"),
        ({"reduction": "pooling"}, "reduction must be one of .*, patches, got 'pooling'"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must lie in 0 … 1, got 1\.5"),
        ({"hop_ms": 0.001}, "the hop must be at least one sample"),
        ({"window_ms": float("nan")}, "window_ms and rate must be finite, got nan and 16000"),
        ({"hop_ms": float("inf")}, "hop_ms and rate must be finite, got inf and 16000"),
        ({"rate": 16_000.5}, r"rate must be a whole number, at least 1 Hz, got 16000\.5"),
    ],
)
def test_an_argument_is_refused_when_it_breaks_a_rule(argument: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AudioFrontEnd(**argument)


def test_a_skipped_sound_counts_in_no_loss() -> None:
    frontend = made(corrupt="skip")
    head = SequenceClassification(frontend, Encoder(DIM, 1, 2, dropout=0.0), dropout=0.0)
    head.fit_vectorizers([], ["low", "high"])
    sources = [(hiss(800), RATE), (np.zeros(0), RATE), (tone(0.1), RATE)]
    examples = [Example(s, t) for s, t in zip(sources, ["low", "high", "high"], strict=True)]
    with pytest.warns(UserWarning, match="the sound is skipped"):
        batch = head.collate(examples)
    assert len(batch) == 3
    short = frontend(batch)
    assert short.labelled_sequences is not None
    assert short.labelled_sequences.tolist() == [True, False, True]
