from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqattn import DataError
from seqattn.frontends.audio_augmentation import (
    AudioAugmentation,
    SoundFolder,
    add_noise,
    make_noise,
    reverberate,
    warp_filters,
)
from tests.frontends.sounds import RATE, cut, hiss, tone, write


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_changes_by_default() -> None:
    plain = AudioAugmentation()
    samples, values = torch.from_numpy(hiss(100)), torch.ones(5, 4)
    generator = seeded()
    state = generator.bit_generator.state
    assert plain.move_ends(samples, RATE, generator) == (samples, 0)
    assert plain.alter_filters(values, generator) is values
    assert generator.bit_generator.state == state  # what was drawn before is drawn as before
    assert plain.draw_speed(seeded()) == 1
    assert plain.disturb(samples, RATE, seeded()) is samples
    assert plain.mask(values, seeded()) is values


def test_a_crop_is_a_stretch_that_begins_where_it_says() -> None:
    augmentation = AudioAugmentation(crop_share=0.2)
    samples = torch.arange(100.0)
    starts, ends = set(), set()
    for seed in range(200):
        cut_out, first = augmentation.move_ends(samples, RATE, seeded(seed))
        torch.testing.assert_close(cut_out, samples[first : first + len(cut_out)])
        starts.add(first)
        ends.add(100 - first - len(cut_out))
    assert starts == ends == set(range(20))


def test_a_crop_leaves_a_sample_when_there_is_one() -> None:
    augmentation = AudioAugmentation(crop_share=0.49)
    lengths = {len(augmentation.move_ends(torch.ones(1), RATE, seeded(n))[0]) for n in range(20)}
    assert lengths == {1}


def test_every_second_sound_has_silence_at_its_ends() -> None:
    augmentation = AudioAugmentation(silence_seconds=0.5)
    samples = torch.ones(10)
    longer = 0
    for seed in range(200):
        found, first = augmentation.move_ends(samples, 100, seeded(seed))
        after = len(found) - 10 + first
        assert 0 <= -first <= 50
        assert 0 <= after <= 50
        torch.testing.assert_close(found, torch.nn.functional.pad(samples, (-first, after)))
        longer += len(found) > 10
    assert 70 < longer < 130


def test_every_speed_is_drawn() -> None:
    augmentation = AudioAugmentation(speeds=[0.9, 1.0, 1.1])
    drawn = {augmentation.draw_speed(seeded(seed)) for seed in range(50)}
    assert drawn == {Fraction(9, 10), Fraction(1), Fraction(11, 10)}


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_warped_filters_hear_a_frequency_where_others_hear_its_multiple(factor: float) -> None:
    ramp = torch.arange(101.0)[:, None]  # row k of the filters says k
    heard = warp_filters(ramp, factor)[:, 0]
    knee = 85 if factor < 1 else 85 / factor  # below, or warped to, 85 % of the range
    below = torch.arange(int(knee) + 1)
    torch.testing.assert_close(heard[below], factor * below, atol=1e-4, rtol=0)
    assert float(heard[-1]) == 100
    steps = heard[int(knee) + 1 :].diff()
    slope = (100 - factor * knee) / (100 - knee)
    torch.testing.assert_close(steps, torch.full_like(steps, slope), atol=1e-4, rtol=0)


def test_a_vocal_tract_is_drawn_within_its_bounds() -> None:
    augmentation = AudioAugmentation(vocal_tract=0.25)
    ramp = torch.arange(101.0)[:, None]
    factors = [
        float(augmentation.alter_filters(ramp, seeded(seed))[10, 0]) / 10 for seed in range(300)
    ]
    assert 0.8 <= min(factors) < 0.81
    assert 1.24 < max(factors) <= 1.25


def test_an_equalizer_changes_gains_smoothly_around_one() -> None:
    augmentation = AudioAugmentation(equalizer_db=6.0)
    filters = torch.ones(3, 51)
    gains = torch.stack(
        [10 * augmentation.alter_filters(filters, seeded(seed)).log10() for seed in range(500)]
    )  # (500, 3, 51), decibels
    assert torch.equal(gains[:, 0], gains[:, 2])
    knots = gains[:, 0, ::10]
    assert float(knots.mean()) == pytest.approx(0, abs=0.5)
    assert float(knots.std()) == pytest.approx(6, rel=0.1)
    between = gains[:, 0, 5]  # midway between the first two knots
    torch.testing.assert_close(between, (knots[:, 0] + knots[:, 1]) / 2, atol=1e-3, rtol=0)


@pytest.mark.parametrize("seed", range(10))
def test_masks_are_bounded_and_set_to_the_mean(seed: int) -> None:
    augmentation = AudioAugmentation(
        time_masks=2, time_mask_share=0.1, frequency_masks=1, frequency_mask_share=0.25
    )
    values = torch.rand(100, 40) + 1
    before = values.clone()
    masked = augmentation.mask(values, seeded(seed))
    torch.testing.assert_close(values, before)
    hidden = masked == 0
    rows, bands = hidden.all(dim=1), hidden.all(dim=0)
    assert int(rows.sum()) <= 20
    assert int(bands.sum()) <= 10
    assert torch.equal(hidden, rows[:, None] | bands)
    torch.testing.assert_close(masked[~hidden], values[~hidden])


def test_masks_reach_their_bound_and_every_place() -> None:
    augmentation = AudioAugmentation(time_masks=1, time_mask_share=0.2)
    counts = torch.zeros(20)
    widest = 0
    for seed in range(300):
        hidden = augmentation.mask(torch.ones(20, 2), seeded(seed))[:, 0] == 0
        counts += hidden
        widest = max(widest, int(hidden.sum()))
    assert widest == 4
    assert (counts > 0).all()


def test_a_short_sound_is_masked_without_an_error() -> None:
    augmentation = AudioAugmentation(time_masks=2, time_mask_share=1.0, frequency_masks=2)
    for seed in range(20):
        assert augmentation.mask(torch.ones(1, 1), seeded(seed)).shape == (1, 1)


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 20.0])
def test_noise_is_added_at_its_ratio(decibels: float) -> None:
    samples, noise = torch.from_numpy(tone()), 3 * torch.from_numpy(hiss(RATE))
    added = add_noise(samples, noise, decibels) - samples
    ratio = 10 * torch.log10(samples.square().mean() / added.square().mean())
    assert float(ratio) == pytest.approx(decibels, abs=1e-3)
    torch.testing.assert_close(added / added.norm(), noise / noise.norm())


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_the_power_of_coloured_noise_falls_with_frequency(slope: float) -> None:
    count = 1 << 14
    spectrum = np.fft.rfft(make_noise(count, slope, seeded()).numpy()) / np.sqrt(count)
    power = np.abs(spectrum) ** 2 * np.arange(len(spectrum)) ** slope
    assert abs(spectrum[0]) < 1e-3
    for octave in (64, 512, 4096):
        assert float(power[octave : 2 * octave].mean()) == pytest.approx(1, rel=0.5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_coloured_noise_has_as_many_samples_as_asked(count: int) -> None:
    assert make_noise(count, 1.0, seeded()).shape == (count,)


def test_silence_stays_what_it_is() -> None:
    silence, noise = torch.zeros(100), torch.from_numpy(hiss(100))
    torch.testing.assert_close(add_noise(silence, noise, 10.0), silence)
    torch.testing.assert_close(add_noise(noise, silence, 10.0), noise)
    torch.testing.assert_close(reverberate(silence, noise), silence)
    torch.testing.assert_close(reverberate(noise, silence), noise)


def test_a_room_is_the_sum_of_echoes_and_keeps_time_and_loudness() -> None:
    samples = torch.from_numpy(hiss(1000))
    response = torch.zeros(300)
    response[40], response[140] = 0.8, 0.4  # the direct sound, and an echo 100 samples later
    heard = reverberate(samples, response)
    expected = samples.clone()
    expected[100:] += 0.5 * samples[:-100]
    expected *= (samples.square().mean() / expected.square().mean()).sqrt()
    torch.testing.assert_close(heard, expected, atol=1e-5, rtol=0)


def folder(path: Path, *sounds: np.ndarray, rate: int = RATE) -> str:
    (path / "inner").mkdir(parents=True)
    for number, samples in enumerate(sounds):
        write(path / "inner" / f"{number}.wav", samples, rate)
    (path / "README.txt").write_text("no sound")
    return str(path)


def test_a_folder_lists_its_sounds_at_any_depth(tmp_path: Path) -> None:
    path = folder(tmp_path, hiss(10), hiss(20))
    assert [Path(file).name for file in SoundFolder("noise_folder", path).files] == [
        "0.wav",
        "1.wav",
    ]


def test_a_folder_is_refused_when_it_holds_no_sound(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"noise_folder must hold sound files, got none in '"):
        _ = SoundFolder("noise_folder", str(tmp_path)).files


def test_a_damaged_file_of_a_folder_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, hiss(1000))
    cut(str(tmp_path / "inner" / "0.wav"), 0.5)
    with pytest.raises(DataError, match=r"0\.wav: the header promises 2000 bytes"):
        SoundFolder("room_folder", path).read(seeded(), RATE)


def test_a_stretch_lies_in_its_file_and_starts_over_where_that_is_short(tmp_path: Path) -> None:
    long, short = hiss(1000), hiss(30)
    noise = SoundFolder("noise_folder", folder(tmp_path / "long", long))
    for seed in range(5):
        found = noise.read_stretch(seeded(seed), RATE, 200)
        starts = np.abs(np.lib.stride_tricks.sliding_window_view(long, 200) - found.numpy())
        assert starts.max(axis=1).min() < 1e-4
    looped = SoundFolder("noise_folder", folder(tmp_path / "short", short))
    found = looped.read_stretch(seeded(), RATE, 100)
    torch.testing.assert_close(found, torch.from_numpy(np.tile(short, 4)[:100]), atol=1e-4, rtol=0)


def test_a_file_of_another_rate_is_resampled(tmp_path: Path) -> None:
    noise = SoundFolder("noise_folder", folder(tmp_path, tone(1.0, rate=16_000), rate=16_000))
    assert len(noise.read(seeded(), RATE)) == RATE
    assert len(noise.read_stretch(seeded(), RATE, 3000)) == 3000


def test_every_second_sound_is_disturbed(tmp_path: Path) -> None:
    samples = torch.from_numpy(tone(0.1))
    noise = AudioAugmentation(noise_folder=folder(tmp_path / "noise", hiss(4000)))
    room = AudioAugmentation(room_folder=folder(tmp_path / "room", hiss(100)))
    colored = AudioAugmentation(colored_noise=True)
    for augmentation in (noise, room, colored):
        changed = [
            augmentation.disturb(samples, RATE, seeded(seed)) is not samples for seed in range(60)
        ]
        assert 15 < sum(changed) < 45


def test_a_draw_decides_everything(tmp_path: Path) -> None:
    augmentation = AudioAugmentation(
        noise_folder=folder(tmp_path / "noise", hiss(4000), hiss(4000, 1)),
        room_folder=folder(tmp_path / "room", hiss(100), hiss(100, 1)),
    )
    samples = torch.from_numpy(tone(0.1))
    state = torch.get_rng_state()
    first, again = (augmentation.disturb(samples, RATE, seeded(3)) for _ in range(2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("argument", "rule"),
    [
        ({"crop_share": 0.5}, r"crop_share must lie in 0 … 0\.5, 0\.5 excluded, got 0\.5"),
        ({"crop_share": -0.1}, r"crop_share must lie in 0 … 0\.5, 0\.5 excluded, got -0\.1"),
        ({"silence_seconds": -1.0}, r"silence_seconds must lie in 0 … 60, got -1\.0"),
        ({"vocal_tract": 0.6}, r"vocal_tract must lie in 0 … 0\.5, got 0\.6"),
        ({"vocal_tract": float("nan")}, r"vocal_tract must lie in 0 … 0\.5, got nan"),
        ({"equalizer_db": -1.0}, r"equalizer_db must lie in 0 … 40 decibels, got -1\.0"),
        ({"speeds": []}, r"speeds must be factors in 0\.5 … 2, got \[\]"),
        ({"speeds": [1.0, 2.5]}, r"speeds must be factors in 0\.5 … 2, got \[1\.0, 2\.5\]"),
        ({"noise_snr": (20.0, 5.0)}, r"noise_snr must be lowest and highest .* got \[20\.0, 5\.0"),
        ({"noise_snr": [5.0]}, r"noise_snr must be lowest and highest in -50 … 100 decibels"),
        ({"time_masks": -1}, "time_masks must be at least 0, got -1"),
        ({"frequency_masks": -2}, "frequency_masks must be at least 0, got -2"),
        ({"time_mask_share": 1.5}, r"time_mask_share must lie in 0 … 1, got 1\.5"),
        ({"frequency_mask_share": -0.1}, r"frequency_mask_share must lie in 0 … 1, got -0\.1"),
    ],
)
def test_an_argument_is_refused_when_out_of_range(argument: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AudioAugmentation(**argument)
