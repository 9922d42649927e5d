import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqattn import AudioClip, DataError
from seqattn.frontends import audio_vectorizer
from seqattn.frontends.audio_augmentation import AudioAugmentation
from seqattn.frontends.audio_vectorizer import AudioVectorizer
from seqattn.vectorizer import Vectorized
from tests.frontends.sounds import (
    FORMATS,
    RATE,
    SETTINGS,
    cut,
    flip,
    hiss,
    set_wav_rate,
    tone,
    write,
    zipped,
)


def fitted(**arguments: Any) -> AudioVectorizer:
    vectorizer = AudioVectorizer(SETTINGS, **arguments)
    vectorizer.fit([(hiss(4000), RATE), (tone(0.5), RATE)])
    return vectorizer


def test_training_features_have_mean_zero_and_deviation_one_in_each_band() -> None:
    sources = [(hiss(4000), RATE), (tone(0.5), RATE), (tone(0.2, 1000.0), RATE)]
    vectorizer = AudioVectorizer(SETTINGS)
    vectorizer.fit(iter(sources))
    values = torch.cat([vectorizer(source).values for source in sources])
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.ones(20), atol=1e-4, rtol=0)


def test_fitting_reads_the_first_minute_of_a_bounded_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = [(hiss(800, seed), RATE) for seed in range(9)]
    whole, again = AudioVectorizer(SETTINGS), AudioVectorizer(SETTINGS)
    monkeypatch.setattr(audio_vectorizer, "_FITTED_SOURCES", 3)
    monkeypatch.setattr(audio_vectorizer, "_FITTED_SECONDS", 0.05)
    for vectorizer in (whole, again):
        vectorizer.fit(sources)
    assert whole.state() == again.state()
    chosen = sorted(np.random.default_rng(0).choice(9, 3, replace=False).tolist())
    rows = torch.cat([SETTINGS(torch.from_numpy(sources[index][0][:400])) for index in chosen])
    torch.testing.assert_close(whole.mean, rows.mean(0), atol=1e-4, rtol=0)


def test_a_band_that_never_changes_is_not_divided_by_zero() -> None:
    vectorizer = AudioVectorizer(SETTINGS)
    vectorizer.fit([(np.zeros(1000, dtype=np.float32), RATE)])
    assert vectorizer.deviation.tolist() == [1.0] * 20
    assert vectorizer((np.zeros(500, dtype=np.float32), RATE)).values.abs().max() < 1e-4


@pytest.mark.parametrize("sources", [[], [(np.zeros(0), RATE)]])
def test_fitting_is_refused_without_a_sound(sources: list[Any]) -> None:
    vectorizer = AudioVectorizer(SETTINGS, corrupt="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=f"must hold a sound .* none in {len(sources)}"):
            vectorizer.fit(sources)


def test_use_is_refused_before_fitting() -> None:
    with pytest.raises(RuntimeError, match="the vectorizer must be fitted"):
        AudioVectorizer(SETTINGS)((tone(), RATE))


@pytest.mark.parametrize("count", [1, 50, 80, 81, 199, 1000])
def test_length_is_the_number_of_rows(count: int) -> None:
    vectorizer = fitted()
    source = (hiss(count), RATE)
    found = vectorizer(source)
    assert vectorizer.length(source) == len(found.values) == -(-count // 80)
    assert found.labelled is None
    assert found.values.isfinite().all()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_length_is_known_from_the_header(suffix: str, rate: int, tmp_path: Path) -> None:
    vectorizer = fitted()
    path = write(tmp_path / f"a.{suffix}", tone(0.333, rate=rate), rate)
    assert vectorizer.length(path) == len(vectorizer(path).values) == 34
    clip = AudioClip(path, 0.1, 0.2)
    assert vectorizer.length(clip) == len(vectorizer(clip).values) == 10


def test_times_are_the_centres_of_the_rows() -> None:
    times = fitted()((tone(0.05), RATE)).times
    assert times is not None
    torch.testing.assert_close(times, torch.tensor([0.005, 0.015, 0.025, 0.035, 0.045]).double())
    assert fitted().frame_seconds == 0.01


def test_times_count_from_the_start_of_a_stretch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1.0))
    times = fitted()(AudioClip(path, 0.5, 0.52)).times
    assert times is not None
    torch.testing.assert_close(times, torch.tensor([0.005, 0.015]).double())


def everything() -> AudioAugmentation:
    return AudioAugmentation(
        crop_share=0.1,
        silence_seconds=0.1,
        speeds=[0.9, 1.0, 1.1],
        vocal_tract=0.2,
        equalizer_db=6.0,
        colored_noise=True,
        time_masks=2,
        frequency_masks=2,
    )


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25, 2.0])
def test_times_follow_the_speed(speed: float) -> None:
    burst = np.zeros(RATE, dtype=np.float32)
    burst[4800:5600] = tone(0.1)  # from 0.6 to 0.7 seconds of the sound as it was given
    vectorizer = fitted(augmentation=AudioAugmentation(speeds=[speed]))
    found = vectorizer((burst, RATE), draw=0)
    assert found.times is not None
    assert len(found.values) == len(found.times) == round(100 / speed)
    torch.testing.assert_close(found.times[1] - found.times[0], torch.tensor(speed / 100).double())
    level = found.values.mean(dim=1)
    loud = found.times[level > (level.min() + level.max()) / 2]
    assert float(loud.min()) == pytest.approx(0.6, abs=0.02)
    assert float(loud.max()) == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_times_follow_the_ends(seed: int) -> None:
    burst = np.zeros(RATE, dtype=np.float32)
    burst[4800:5600] = tone(0.1)  # from 0.6 to 0.7 seconds of the sound as it was given
    augmentation = AudioAugmentation(crop_share=0.25, silence_seconds=0.3, speeds=[0.8])
    found = fitted(augmentation=augmentation)((burst, RATE), draw=seed)
    assert found.times is not None
    level = found.values.mean(dim=1)
    loud = found.times[level > (level.min() + level.max()) / 2]
    assert float(loud.min()) == pytest.approx(0.6, abs=0.02)
    assert float(loud.max()) == pytest.approx(0.7, abs=0.02)


def test_nothing_is_augmented_without_a_draw() -> None:
    augmentation = everything()
    source = (hiss(4000), RATE)
    plain = fitted()(source)
    found = fitted(augmentation=augmentation)(source)
    torch.testing.assert_close(found.values, plain.values, atol=0, rtol=0)


def test_a_draw_decides_the_augmentation_and_leaves_global_randomness_alone() -> None:
    vectorizer = fitted(augmentation=everything())
    source = (hiss(4000), RATE)
    states = torch.get_rng_state(), np.random.get_state()[1]
    drawn = [vectorizer(source, draw=2**62 + seed).values for seed in range(5)]
    again = [vectorizer(source, draw=2**62 + seed).values for seed in range(5)]
    for one, other in zip(drawn, again, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert len({tuple(values.flatten().tolist()) for values in drawn}) == 5
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_a_stretch_has_the_rows_of_the_whole(tmp_path: Path) -> None:
    vectorizer = fitted()
    path = write(tmp_path / "a.wav", hiss(RATE), subtype="FLOAT")
    whole, part = vectorizer(path).values, vectorizer(AudioClip(path, 0.4, 0.6)).values
    torch.testing.assert_close(part[2:-2], whole[42:58], atol=1e-5, rtol=0)


def test_a_member_of_an_archive_equals_the_file(tmp_path: Path) -> None:
    vectorizer = fitted()
    clip = AudioClip(zipped(tmp_path / "a.zip", {"a.wav": hiss(800)}), member="a.wav")
    torch.testing.assert_close(vectorizer(clip).values, vectorizer((hiss(800), RATE)).values)


def test_the_state_makes_the_same_features() -> None:
    one, other = fitted(), AudioVectorizer(SETTINGS)
    other.load_state(one.state())
    assert other.is_fitted
    source = (hiss(400, 7), RATE)
    torch.testing.assert_close(other(source).values, one(source).values, atol=0, rtol=0)


def test_a_state_is_refused_when_it_has_other_bands() -> None:
    state = {"mean": [0.0] * 3, "deviation": [1.0] * 3}
    with pytest.raises(ValueError, match="mean and deviation of 20 mels, got 3 and 3"):
        AudioVectorizer(SETTINGS).load_state(state)


def test_a_pickled_vectorizer_makes_the_same_features() -> None:
    vectorizer = fitted()
    again = pickle.loads(pickle.dumps(vectorizer))
    source = (hiss(400, 7), RATE)
    torch.testing.assert_close(again(source).values, vectorizer(source).values, atol=0, rtol=0)
    assert len(pickle.dumps(vectorizer)) < 5000  # no filters, no kernels


def test_no_sound_has_no_row() -> None:
    assert AudioVectorizer(SETTINGS).empty().shape == (0, 20)


def test_a_long_sound_is_cut_into_overlapping_pieces(tmp_path: Path) -> None:
    vectorizer = fitted(piece_seconds=1.2, rows_per_position=4)
    path = write(tmp_path / "a.wav", hiss(3 * RATE), subtype="FLOAT")
    stereo = np.stack([hiss(3 * RATE), hiss(3 * RATE, 1)], axis=1)
    for raw in (path, Path(path), AudioClip(path, 0.0, 2.9), (stereo, RATE)):
        pieces = vectorizer.pieces(raw)
        assert pieces is not None
        assert [round(piece.start, 6) for piece in pieces] == [0.0, 1.0, 2.0]
        lengths = [vectorizer.length(piece.source) for piece in pieces]
        assert lengths == [round(100 * (piece.end - piece.start)) for piece in pieces]
    assert vectorizer.pieces((hiss(9600), RATE)) is None


def test_a_tensor_of_channels_is_cut_along_time() -> None:
    channels = torch.from_numpy(np.stack([hiss(2 * RATE), hiss(2 * RATE, 1)]))
    pieces = fitted(piece_seconds=1.2).pieces((channels, RATE))
    assert pieces is not None
    waveform, rate = pieces[1].source
    start = round(pieces[1].start * RATE)
    np.testing.assert_allclose(waveform, channels.numpy().mean(0)[start:], atol=1e-7)


# --- damaged sounds -----------------------------------------------------------------------------

Damage = Callable[[Path], Any]


def write_bytes(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def with_nan(path: Path) -> str:
    samples = tone(0.5)
    samples[100] = np.nan
    return write(path, samples, subtype="FLOAT")


def use(vectorizer: AudioVectorizer, raw: Any) -> tuple[int, Vectorized]:
    """Return length and rows; use it once more, which reports nothing again."""
    length = vectorizer.length(raw)
    vectorizer(raw, draw=1)
    return length, vectorizer(raw)


def with_cut_header(path: Path) -> str:
    return write_bytes(path, Path(write(path, tone(0.5))).read_bytes()[:30])


DAMAGED: dict[str, tuple[Damage, str]] = {
    "empty": (lambda path: write_bytes(path / "a.wav", b""), "can be decoded"),
    "garbage": (lambda path: write_bytes(path / "a.wav", b"\x01garbage" * 99), "can be decoded"),
    "header": (lambda path: with_cut_header(path / "a.wav"), "can be decoded"),
    "wav": (lambda path: cut(write(path / "a.wav", hiss(RATE)), 0.5), "header promises 16000 byt"),
    "flac": (lambda path: cut(write(path / "a.flac", hiss(RATE)), 0.7), "must hold 8000 frames"),
    "ogg": (lambda path: cut(write(path / "a.ogg", hiss(9 * RATE)), 0.5), "whole pages at bot"),
    "flipped": (lambda path: flip(write(path / "a.flac", hiss(RATE)), 0.7), "must hold 8000 fram"),
    "mp3": (lambda path: cut(write(path / "a.mp3", hiss(RATE)), 0.5), "it must hold 8000 frames"),
    "nan": (lambda path: with_nan(path / "a.wav"), "samples must be finite"),
    "no frames": (lambda path: write(path / "a.wav", tone(0.0)), "at least one sample, got none"),
    "rate": (
        lambda path: set_wav_rate(write(path / "a.wav", hiss(99)), 2**31 - 1),
        "rate must lie within a factor of 50 of 8000 Hz, got 2147483647",
    ),
    "stretch": (
        lambda path: AudioClip(write(path / "a.wav", tone(0.5)), 0.4, 0.7),
        "the stretch must lie in the sound's 0.500 seconds",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_sound_is_an_error_that_names_path_and_rule(kind: str, tmp_path: Path) -> None:
    damage, rule = DAMAGED[kind]
    raw = damage(tmp_path)
    with pytest.raises(DataError) as caught:
        fitted()(raw)
    assert rule in caught.value.message
    assert caught.value.path == (raw.path if isinstance(raw, AudioClip) else raw)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_sound_is_one_row_without_a_label_when_skipped(kind: str, tmp_path: Path) -> None:
    damage, rule = DAMAGED[kind]
    raw = damage(tmp_path)
    vectorizer = fitted(corrupt="skip")
    with pytest.warns(UserWarning, match=r"a\.\w+: .*; the sound is skipped") as caught:
        _, found = use(vectorizer, raw)
    assert [rule in str(warning.message) for warning in caught] == [True]
    assert found.values.shape == (1, 20)
    assert found.labelled is not None
    assert found.labelled.tolist() == [False]
    assert found.times is not None
    assert found.times.tolist() == [0.005]


PADDED_ROWS = {"empty": 1, "garbage": 1, "header": 1, "no frames": 1, "nan": 50, "stretch": 30}


@pytest.mark.parametrize("kind", sorted(DAMAGED.keys() - {"rate", "ogg"}))
def test_a_damaged_sound_is_as_long_as_its_header_says_when_padded(
    kind: str, tmp_path: Path
) -> None:
    damage, rule = DAMAGED[kind]
    raw = damage(tmp_path)
    vectorizer = fitted(corrupt="pad")
    with pytest.warns(UserWarning, match="; the sound is padded with silence") as caught:
        length, found = use(vectorizer, raw)
    assert [rule in str(warning.message) for warning in caught] == [True]
    assert length == len(found.values) == PADDED_ROWS.get(kind, 100)
    assert found.labelled is None
    assert found.values.isfinite().all()
    if kind in ("wav", "flac", "flipped", "mp3", "stretch"):
        silence = vectorizer((np.zeros(80, dtype=np.float32), RATE)).values
        sound = tone(0.5)[3200:] if kind == "stretch" else hiss(RATE)
        first = vectorizer((sound, RATE)).values[2:8]
        error = 0.5 if kind == "mp3" else 0.1
        assert (found.values[2:8] - first).abs().mean() < error
        torch.testing.assert_close(found.values[-1:], silence, atol=1e-4, rtol=0)


def test_a_stretch_of_a_file_that_is_no_sound_is_silence_as_long_when_padded(
    tmp_path: Path,
) -> None:
    clip = AudioClip(write_bytes(tmp_path / "a.wav", b""), 1.0, 1.5)
    with pytest.warns(UserWarning, match="padded"):
        assert len(fitted(corrupt="pad")(clip).values) == 50


def test_a_rate_far_from_ours_is_skipped_even_when_padding(tmp_path: Path) -> None:
    raw = DAMAGED["rate"][0](tmp_path)
    with pytest.warns(UserWarning, match="the sound is skipped"):
        assert fitted(corrupt="pad")(raw).labelled is not None


def test_a_damaged_waveform_is_an_error_that_names_the_rule() -> None:
    with pytest.raises(ValueError, match="samples must be finite and at most 1e"):
        fitted()((np.array([0.0, np.nan]), RATE))


@pytest.mark.parametrize("policy", ["skip", "pad"])
def test_a_damaged_waveform_is_reported_once_and_by_what_it_holds(policy: Any) -> None:
    vectorizer = fitted(corrupt=policy)
    sources = [(np.array([wrong, np.nan]), RATE) for wrong in (0.0, 0.5)]
    for source in sources:
        with pytest.warns(UserWarning, match="a waveform of 2 samples at 8000 Hz .*nan") as caught:
            use(vectorizer, source)
        assert len(caught) == 1


def test_a_sound_that_is_not_damaged_is_not_reported(tmp_path: Path) -> None:
    loud = np.clip(9 * tone(0.5), -1, 1)
    many = np.stack([tone(0.5)] * 8, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for policy in ("error", "skip", "pad"):
            vectorizer = fitted(corrupt=policy)
            for samples in (loud, many, np.zeros(4000, dtype=np.float32)):
                assert vectorizer(write(tmp_path / "a.wav", samples)).values.isfinite().all()


def test_damaged_sounds_are_left_out_of_the_statistics(tmp_path: Path) -> None:
    raw = write_bytes(tmp_path / "a.wav", b"")
    vectorizer = AudioVectorizer(SETTINGS, corrupt="skip")
    with pytest.warns(UserWarning, match="skipped"):
        vectorizer.fit([(hiss(4000), RATE), raw, (tone(0.5), RATE)])
    assert vectorizer.state() == fitted().state()


@pytest.mark.parametrize(
    ("argument", "rule"),
    [
        ({"corrupt": "ignore"}, "corrupt must be 'error', 'skip' or 'pad', got 'ignore'"),
        ({"piece_seconds": 0.5}, r"piece_seconds must be at least 1, got 0\.5"),
    ],
)
def test_an_argument_is_refused_when_it_breaks_a_rule(argument: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AudioVectorizer(SETTINGS, **argument)
