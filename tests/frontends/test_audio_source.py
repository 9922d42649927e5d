from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqattn import AudioClip
from seqattn.frontends.audio_source import (
    describe_source,
    measure_source,
    name_source,
    parse_sound,
    read_source,
)
from tests.frontends.sounds import RATE, hiss, tone, write


def samples_of(raw: Any) -> list[float]:
    return read_source(parse_sound(raw)).samples.tolist()


def test_a_path_is_its_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    for raw in (path, Path(path), AudioClip(path)):
        source = parse_sound(raw)
        assert source == AudioClip(path)
        assert name_source(source) == describe_source(source) == path
        assert measure_source(source).count == len(read_source(source).samples) == 800


def test_a_waveform_is_itself() -> None:
    source = parse_sound((hiss(50), RATE))
    assert name_source(source) is None
    measured, sound = measure_source(source), read_source(source)
    assert (measured.rate, measured.count, measured.fault) == (RATE, 50, None)
    assert (sound.rate, sound.count, sound.fault) == (RATE, 50, None)
    torch.testing.assert_close(sound.samples, torch.from_numpy(hiss(50)))


def test_waveforms_are_told_apart_by_their_samples() -> None:
    one, same, other = (describe_source(parse_sound((hiss(50, s), RATE))) for s in (0, 0, 1))
    assert one == same != other
    assert one.startswith("a waveform of 50 samples at 8000 Hz (CRC-32 ")


LEFT, RIGHT = [0.5, 0.25, 0.0], [0.0, 0.25, 1.0]


@pytest.mark.parametrize(
    "waveform",
    [
        np.array([LEFT, RIGHT]).T,
        np.array([LEFT, RIGHT], dtype=np.float16).T,
        torch.tensor([LEFT, RIGHT]),
        torch.tensor([LEFT, RIGHT], dtype=torch.bfloat16, requires_grad=True),
        np.array([0.25, 0.25, 0.5]),
        torch.tensor([0.25, 0.25, 0.5]),
        np.array([0.5, 0.25, 0.25])[::-1],
        np.array([8192, 8192, 16384], dtype=np.int16),
        np.array([2**29, 2**29, 2**30], dtype=">i4"),
        torch.tensor([32, 32, 64], dtype=torch.int8),
    ],
)
def test_channels_are_averaged_by_the_layout_of_their_library(waveform: Any) -> None:
    assert samples_of((waveform, RATE)) == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("waveform", "rule"),
    [
        (np.zeros((2, 100)), r"ndarray must have shape \(samples,\) or \(samples, channels\) with"),
        (torch.zeros(100, 2), r"Tensor must have shape \(samples,\) or \(channels, samples\) with"),
        (np.zeros((1, 2, 3)), r"1 to 32 channels, got \(1, 2, 3\)"),
        (np.zeros((5, 0)), r"1 to 32 channels, got \(5, 0\)"),
        (np.zeros(()), r"1 to 32 channels, got \(\)"),
        (np.zeros(5, dtype=np.uint8), "must hold floats, int8, int16, int32, got uint8"),
        (np.zeros(5, dtype=np.int64), "must hold floats, int8, int16, int32, got int64"),
        (torch.zeros(5, dtype=torch.int64), "must hold floats, int8, int16, int32, got int64"),
        (np.zeros(5, dtype=bool), "must hold floats, int8, int16, int32, got bool"),
        (np.zeros(5, dtype=complex), "must hold floats, int8, int16, int32, got complex128"),
    ],
)
def test_a_waveform_is_refused_when_its_layout_is_unclear(waveform: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_sound((waveform, RATE))


@pytest.mark.parametrize("rate", [0, -8000, 0.5, float("nan"), float("inf"), None, "fast"])
def test_a_rate_is_refused_when_it_is_no_positive_number(rate: Any) -> None:
    with pytest.raises(ValueError, match="the rate of a waveform must be a positive whole number"):
        parse_sound((hiss(5), rate))


@pytest.mark.parametrize("rate", [8000.0, np.int64(8000), np.float32(8000)])
def test_a_rate_may_be_any_whole_number(rate: Any) -> None:
    source = parse_sound((hiss(5), rate))
    assert measure_source(source).rate == 8000


@pytest.mark.parametrize("raw", [b"a.wav", 3, None, [hiss(5), 8000], hiss(5), ([0.1, 0.2], 8000)])
def test_a_source_is_refused_when_it_is_no_sound(raw: Any) -> None:
    with pytest.raises(TypeError, match="a sound must be a path, an AudioClip or a tuple"):
        parse_sound(raw)


def test_faults_of_a_waveform_are_told() -> None:
    empty = parse_sound((np.zeros(0), RATE))
    rule = "a sound must hold at least one sample, got none"
    assert measure_source(empty).fault == read_source(empty).fault == rule
    for wrong in (np.nan, np.inf, 1e300):
        sound = read_source(parse_sound((np.array([0.0, wrong]), RATE)))
        assert str(sound.fault).startswith("samples must be finite and at most 1e+06, got ")
