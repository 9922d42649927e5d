import math
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
import torchaudio

from seqattn.frontends import audio_features
from seqattn.frontends.audio_features import LogMel, rate_ratio, resample, resampled_count
from tests.frontends.sounds import RATE, SETTINGS, hiss, tone

BINS = 256  # the power of two from 200 samples on


def reference(samples: np.ndarray, settings: LogMel) -> np.ndarray:
    """Each row by its definition: centre, Hann window, power, triangles on the mel scale, log."""

    def to_mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    low, high = to_mel(settings.low_hz), to_mel(settings.high_hz)
    corners = 700 * (10 ** (np.linspace(low, high, settings.mels + 2) / 2595) - 1)
    bins = np.arange(BINS // 2 + 1) * settings.rate / BINS
    rows = []
    for row in range(max(1, math.ceil(len(samples) / settings.hop))):
        first = row * settings.hop + settings.hop // 2 - settings.window // 2
        places = first + np.arange(settings.window)
        inside = (places >= 0) & (places < len(samples))
        seen = np.where(inside, samples[np.clip(places, 0, max(len(samples) - 1, 0))], 0)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(settings.window) / settings.window)
        power = np.abs(np.fft.rfft(seen * hann, BINS)) ** 2
        bands = []
        for left, middle, right in zip(corners, corners[1:], corners[2:], strict=False):
            rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
            bands.append(power @ np.clip(np.minimum(rising, falling), 0, None))
        rows.append(np.log(np.maximum(bands, 1e-8)))
    return np.array(rows)


@pytest.mark.parametrize("count", [1, 79, 80, 81, 200, 1000, 4000])
def test_features_equal_their_definition(count: int) -> None:
    samples = hiss(count)
    found = SETTINGS(torch.from_numpy(samples))
    expected = torch.from_numpy(reference(samples.astype(np.float64), SETTINGS)).float()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_tone_is_loudest_in_its_band() -> None:
    # 20 bands on the mel scale, 31.7 … 2146: the band of 1,000 Hz (1000 mel) is the 9th or 10th.
    values = SETTINGS(torch.from_numpy(tone(0.5, hz=1000.0)))
    step = (2146.06 - 31.75) / 21
    assert abs(values[20].argmax() - ((1000 - 31.75) / step - 1)) < 0.6


def test_features_of_silence_and_of_no_sample_are_the_floor() -> None:
    floor = math.log(1e-8)
    for count in (0, 1, 1000):
        values = SETTINGS(torch.zeros(count))
        assert values.shape == (max(1, math.ceil(count / 80)), 20)
        torch.testing.assert_close(values, torch.full_like(values, floor))


def test_features_of_clipped_and_of_loud_sound_are_finite() -> None:
    assert SETTINGS((10 * torch.from_numpy(tone())).clamp(-1, 1)).isfinite().all()
    assert SETTINGS(1e6 * torch.from_numpy(tone())).isfinite().all()


def test_long_sounds_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.from_numpy(hiss(4000))
    whole = SETTINGS(samples)
    monkeypatch.setattr(audio_features, "_BLOCK", 7)
    torch.testing.assert_close(SETTINGS(samples), whole, atol=1e-5, rtol=0)


def test_range_lifts_what_is_quieter_and_makes_the_loudest_zero() -> None:
    plain = LogMel(RATE, window=200, hop=80, mels=8, low_hz=20.0, high_hz=4000.0)
    samples = torch.sin(torch.arange(800) * 0.7) * torch.linspace(0, 1, 800)
    values = plain(samples)

    ranged = replace(plain, range_db=20.0)

    kept = (values - values.max()).clamp(min=-math.log(100))  # 20 dB: a hundredth of the power
    torch.testing.assert_close(ranged(samples), kept)
    torch.testing.assert_close(ranged(3 * samples), kept, atol=1e-4, rtol=0)


def test_silence_is_the_quietest_that_the_range_knows() -> None:
    ranged = LogMel(RATE, window=200, hop=80, mels=8, low_hz=20.0, high_hz=4000.0, range_db=20.0)
    for silence in (torch.zeros(800), torch.zeros(0)):
        values = ranged(silence)
        torch.testing.assert_close(values, torch.full_like(values, -math.log(100)))


def test_center_takes_off_what_every_row_of_a_band_has() -> None:
    centred = LogMel(RATE, window=200, hop=80, mels=8, low_hz=20.0, high_hz=4000.0, center=True)
    samples = torch.randn(800, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(centred(samples).mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(centred(5 * samples), centred(samples), atol=1e-3, rtol=0)


def test_center_takes_off_a_share_of_the_mean() -> None:
    settings = {"window": 200, "hop": 80, "mels": 8, "low_hz": 20.0, "high_hz": 4000.0}
    plain, half = LogMel(RATE, **settings), LogMel(RATE, center=0.5, **settings)  # type: ignore[arg-type]
    samples = torch.from_numpy(hiss(800))
    values = plain(samples)
    torch.testing.assert_close(half(samples), values - values.mean(0) / 2)


def test_other_filters_take_the_place_of_the_own() -> None:
    samples = torch.from_numpy(hiss(800))
    assert SETTINGS.filters.shape == (BINS // 2 + 1, 20)
    louder = SETTINGS(samples, 10 * SETTINGS.filters)
    torch.testing.assert_close(louder, SETTINGS(samples) + math.log(10), atol=1e-4, rtol=0)


def test_rows_count_hops() -> None:
    assert [SETTINGS.count_rows(n) for n in (0, 1, 80, 81, 160)] == [1, 1, 1, 2, 2]


def test_narrow_bands_get_a_finer_spectrum_without_a_warning() -> None:
    settings = LogMel(RATE, window=80, hop=40, mels=80, low_hz=20.0, high_hz=4000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = settings(torch.from_numpy(hiss(400)))
    assert (values > math.log(1e-8) + 1).all()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"range_db": 0.0}, "range_db must be above 0, got 0.0"),
        ({"center": 1.5}, r"center must lie in 0 … 1, got 1\.5"),
        ({"rate": 0}, "rate must be a whole number, at least 1 Hz, got 0"),
        ({"rate": 8000.5}, r"rate must be a whole number, at least 1 Hz, got 8000\.5"),
        ({"hop": 0}, "the hop must be at least one sample and at most the window, got 0 and 200"),
        ({"hop": 201}, "at most the window, got 201 and 200 samples"),
        ({"mels": 0}, "mels must lie in 1 … 200, the samples of the window, got 0"),
        ({"mels": 201}, "mels must lie in 1 … 200, the samples of the window, got 201"),
        ({"low_hz": -1.0}, r"must rise within 0 … 4000\.0 Hz, half the rate, got -1\.0 and 4000"),
        ({"high_hz": 4001.0}, r"must rise within 0 … 4000\.0 Hz, half the rate, got 20\.0 and 400"),
        ({"low_hz": 500.0, "high_hz": 500.0}, r"low_hz and high_hz must rise"),
    ],
)
def test_settings_are_refused_when_they_break_a_rule(changes: dict[str, float], rule: str) -> None:
    settings = {"rate": RATE, "window": 200, "hop": 80, "mels": 20, "low_hz": 20.0}
    with pytest.raises(ValueError, match=rule):
        LogMel(**{**settings, "high_hz": 4000.0, **changes})  # type: ignore[arg-type]


def test_bands_are_refused_when_no_spectrum_resolves_them() -> None:
    settings = LogMel(RATE, window=200, hop=80, mels=20, low_hz=500.0, high_hz=500.5)
    with pytest.raises(ValueError, match=r"mels must be fewer, .* 20 bands from 500\.0 to 500\.5"):
        settings(torch.zeros(100))


@pytest.mark.parametrize(("source", "target"), [(8000, 16_000), (44_100, 16_000), (48_000, 8000)])
def test_resampling_equals_torchaudio(source: int, target: int) -> None:
    samples = torch.from_numpy(hiss(3000))
    ratio = rate_ratio(source, target)
    assert ratio == Fraction(target, source)
    found = resample(samples, ratio)
    assert len(found) == resampled_count(3000, ratio) == math.ceil(3000 * target / source)
    expected = torchaudio.functional.resample(samples, source, target)
    torch.testing.assert_close(found, expected)


def test_resampling_keeps_a_tone_in_time() -> None:
    found = resample(torch.from_numpy(tone(0.5, rate=8000)), rate_ratio(8000, 12_000))
    expected = torch.from_numpy(tone(0.5, rate=12_000))
    torch.testing.assert_close(found[500:-500], expected[500:-500], atol=1e-3, rtol=0)


def test_the_same_rate_leaves_samples_as_they_are() -> None:
    samples = torch.from_numpy(hiss(10))
    assert resample(samples, Fraction(1)) is samples


def test_no_sample_stays_none() -> None:
    assert resample(torch.zeros(0), Fraction(2)).shape == (0,)


@pytest.mark.parametrize("source", [44_101, 16_010, 7919, 191_999])
def test_an_odd_ratio_is_rounded(source: int) -> None:
    ratio = rate_ratio(source, 16_000)
    assert ratio.denominator <= 1000
    assert float(ratio) == pytest.approx(16_000 / source, rel=1e-3)


def test_speed_shortens() -> None:
    assert rate_ratio(8000, 8000, Fraction("1.25")) == Fraction(4, 5)


@pytest.mark.parametrize("source", [0, -8000, 159, 400_001, 2**31 - 1])
def test_a_rate_is_refused_when_it_is_far_from_ours(source: int) -> None:
    with pytest.raises(ValueError, match=rf"within a factor of 50 of 8000 Hz, got {source}"):
        rate_ratio(source, 8000)
