import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from seqattn import AudioClip, DataError
from seqattn.frontends.audio_files import (
    LONGEST_SILENCE,
    measure_sound,
    mix_down,
    read_sound,
)
from tests.frontends.sounds import FORMATS, RATE, cut, flip, hiss, tone, write, zipped

CODEC_ERROR = {"wav": 1e-4, "flac": 1e-4, "ogg": 0.05, "mp3": 0.05}


@pytest.mark.parametrize("suffix", FORMATS)
def test_samples_of_a_file_are_what_was_written(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(0.5))
    sound = read_sound(AudioClip(path))
    assert (sound.rate, sound.count, sound.fault) == (RATE, 4000, None)
    assert sound.samples.dtype == torch.float32
    inner = slice(500, -500)  # codecs ring at the ends
    error = (sound.samples - torch.from_numpy(tone(0.5)))[inner].abs().max()
    assert error < CODEC_ERROR[suffix]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("start", [0.25, 6.25])
def test_a_stretch_is_that_part_of_the_whole(suffix: str, start: float, tmp_path: Path) -> None:
    samples = tone(8.0) * np.linspace(0, 1, 8 * RATE, dtype=np.float32)
    path = write(tmp_path / f"a.{suffix}", samples)
    whole, first = read_sound(AudioClip(path)).samples, round(start * RATE)
    part = read_sound(AudioClip(path, start, start + 0.25))
    assert (part.count, part.fault) == (2000, None)
    torch.testing.assert_close(part.samples, whole[first : first + 2000], atol=1e-6, rtol=0)
    rest = read_sound(AudioClip(path, start))
    torch.testing.assert_close(rest.samples, whole[first:], atol=1e-6, rtol=0)


def test_a_member_of_an_archive_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x/one.wav": tone(0.1), "x/two.wav": hiss(400)})
    clip = AudioClip(path, 0.01, 0.03, member="x/two.wav")
    assert measure_sound(clip).count == 160
    torch.testing.assert_close(read_sound(clip).samples, torch.from_numpy(hiss(400)[80:240]))


def test_an_archive_is_read_anew_when_it_has_changed(tmp_path: Path) -> None:
    clip = AudioClip(zipped(tmp_path / "a.zip", {"a.wav": tone(0.1)}), member="a.wav")
    assert read_sound(clip).count == 800
    zipped(tmp_path / "a.zip", {"a.wav": tone(0.2)})
    assert read_sound(clip).count == 1600


def test_an_archive_is_read_right_when_a_forked_process_reads_it_too(tmp_path: Path) -> None:
    members = {f"{i}.wav": hiss(4000, i) for i in range(20)}
    path = zipped(tmp_path / "a.zip", members)
    read_sound(AudioClip(path, member="0.wav"))
    child = os.fork()
    if child == 0:
        for name in members:
            read_sound(AudioClip(path, member=name))
        os._exit(0)
    for name, samples in members.items():
        found = read_sound(AudioClip(path, member=name)).samples
        torch.testing.assert_close(found, torch.from_numpy(samples))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_header_tells_the_count(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(0.5), rate=16_000)
    sound = measure_sound(AudioClip(path))
    assert (sound.rate, sound.count, len(sound.samples), sound.fault) == (16_000, 4000, 0, None)
    assert measure_sound(AudioClip(path, 0.1, 0.2)).count == 1600


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([hiss(800, seed) for seed in range(8)], axis=1)
    sound = read_sound(AudioClip(write(tmp_path / "a.wav", channels, subtype="FLOAT")))
    torch.testing.assert_close(sound.samples, torch.from_numpy(channels.mean(axis=1)))


def test_a_stretch_may_end_a_little_after_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.5))
    sound = read_sound(AudioClip(path, 0.25, 0.54))
    assert (sound.count, len(sound.samples), sound.fault) == (2000, 2000, None)


@pytest.mark.parametrize(
    ("start", "end", "count", "there"), [(0.4, 0.6, 1600, 800), (0.5, None, 0, 0)]
)
def test_a_stretch_outside_of_the_file_is_a_fault(
    start: float, end: float | None, count: int, there: int, tmp_path: Path
) -> None:
    clip = AudioClip(write(tmp_path / "a.wav", tone(0.5)), start, end)
    rule = f"the stretch must lie in the sound's 0.500 seconds, got {start} … {end}"
    assert measure_sound(clip).fault == rule
    sound = read_sound(clip)
    assert (sound.fault, sound.count, len(sound.samples)) == (rule, count, there)


@pytest.mark.parametrize(("start", "end"), [(0.1, 1e4), (0.5, 1e9), (0.0, 100.0)])
def test_a_mistyped_end_promises_no_more_than_a_minute(
    start: float, end: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", tone(0.5))
    clip = AudioClip(path, start, end)
    for sound in (measure_sound(clip), read_sound(clip)):
        assert sound.count == round((0.5 - start + LONGEST_SILENCE) * RATE)
        assert f"0.500 seconds, got {start} … {end}" in str(sound.fault)
    Path(path).write_bytes(b"no sound")
    sound = read_sound(clip)
    assert sound.count == LONGEST_SILENCE * sound.rate


@pytest.mark.parametrize(("start", "share"), [(0.0, 0.6), (2.5, 0.6), (0.0, 0.2)])
def test_a_flac_file_with_a_damaged_byte_gives_what_comes_before(
    start: float, share: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.flac", hiss(10 * RATE))
    whole = read_sound(AudioClip(path, start))
    sound = read_sound(AudioClip(flip(path, share), start))
    assert str(sound.fault).startswith("it must hold 80000 frames as its header says, got ")
    assert sound.count == whole.count
    before = len(sound.samples)
    assert share * 80_000 - start * RATE - 10_000 < before < share * 80_000 - start * RATE
    torch.testing.assert_close(sound.samples, whole.samples[:before], atol=0, rtol=0)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.99])
def test_an_ogg_file_with_a_damaged_byte_is_a_fault(share: float, tmp_path: Path) -> None:
    for subtype in ("VORBIS", "OPUS"):
        path = write(tmp_path / "a.ogg", hiss(60 * RATE), subtype=subtype)
        sound = read_sound(AudioClip(flip(path, share)))
        assert sound.fault is not None
        assert len(sound.samples) < 60 * RATE


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.95, 0.6])
def test_a_file_that_is_cut_off_is_a_fault_and_gives_what_it_holds(
    suffix: str, share: float, tmp_path: Path
) -> None:
    path = write(tmp_path / f"a.{suffix}", hiss(10 * RATE))
    whole = read_sound(AudioClip(path)).samples
    sound = read_sound(AudioClip(cut(path, share)))
    assert sound.fault is not None
    assert sound.count == (len(sound.samples) if suffix == "ogg" else len(whole))
    assert 0.4 * len(whole) < len(sound.samples) < len(whole)
    same = slice(len(sound.samples) - 2000)
    torch.testing.assert_close(sound.samples[same], whole[same])


def test_a_cut_file_is_a_fault_when_the_stretch_begins_after_the_cut(tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "mp3"):
        path = cut(write(tmp_path / f"a.{suffix}", hiss(10 * RATE)), 0.5)
        sound = read_sound(AudioClip(path, 8.0, 9.0))
        assert sound.fault is not None
        assert (sound.count, len(sound.samples)) == (RATE, 0)


def test_a_bare_mp3_has_no_fault_when_it_is_shorter_than_estimated(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    content = Path(write(path, hiss(10 * RATE))).read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    sound = read_sound(AudioClip(str(path)))
    assert sound.fault is None
    assert sound.count == len(sound.samples) > 0


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 100, b"OggS" * 50])
def test_a_file_that_is_no_sound_is_a_fault(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    sound = read_sound(AudioClip(str(tmp_path / "a.wav")))
    assert str(sound.fault).startswith("it must be a sound file that can be decoded, got one that ")
    assert sound.count == 0
    clip = AudioClip(str(tmp_path / "a.wav"), 1.0, 1.5)
    assert measure_sound(clip).count / measure_sound(clip).rate == 0.5


def test_a_file_without_samples_is_a_fault(tmp_path: Path) -> None:
    sound = read_sound(AudioClip(write(tmp_path / "a.wav", tone(0.0))))
    assert (sound.fault, sound.count) == ("a sound must hold at least one sample, got none", 0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e20])
def test_samples_that_are_no_numbers_are_a_fault_and_become_silence(
    wrong: float, tmp_path: Path
) -> None:
    samples = tone(0.1)
    samples[[17, 300]] = wrong
    sound = read_sound(AudioClip(write(tmp_path / "a.wav", samples, subtype="FLOAT")))
    assert str(sound.fault).startswith("samples must be finite and at most 1e+06, got ")
    assert str(sound.fault).endswith("at sample 17")
    assert sound.samples[[17, 300]].tolist() == [0, 0]
    assert sound.samples[18] == samples[18]


def test_a_damaged_member_of_an_archive_is_a_fault(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.wav": tone(0.1)})
    content = bytearray(Path(path).read_bytes())
    content[2000] ^= 0xFF
    Path(path).write_bytes(content)
    fault = read_sound(AudioClip(path, member="a.wav")).fault
    assert "Bad CRC-32" in str(fault)


def test_a_file_is_refused_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.wav: the file must be readable: No such file"):
        read_sound(AudioClip(str(tmp_path / "no.wav")))


def test_an_archive_is_refused_when_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.zip: the file must be a zip archive: "):
        read_sound(AudioClip(str(tmp_path / "a.zip"), member="a.wav"))


def test_a_member_is_refused_when_the_archive_has_none_of_that_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.wav": tone(0.1)})
    with pytest.raises(DataError, match=r"a\.zip: the archive must hold 'b\.wav', got no such"):
        read_sound(AudioClip(path, member="b.wav"))


def test_random_damage_never_raises_anything_but_data_errors(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for suffix in FORMATS:
        whole = Path(write(tmp_path / f"a.{suffix}", hiss(4000))).read_bytes()
        for _ in range(25):
            content = bytearray(whole[: int(generator.integers(len(whole)))])
            for place in generator.integers(max(len(content), 1), size=3).tolist():
                if place < len(content):
                    content[place] ^= 1 << int(generator.integers(8))
            (tmp_path / "b").write_bytes(content)
            sound = read_sound(AudioClip(str(tmp_path / "b")))
            assert sound.samples.isfinite().all()
            assert len(sound.samples) <= sound.count


def test_mixing_leaves_the_given_array_alone() -> None:
    frames = np.full((3, 1), np.nan, dtype=np.float32)
    frames.flags.writeable = False
    sound = mix_down(frames[::-1], RATE, 3, None)
    assert sound.samples.tolist() == [0, 0, 0]
    assert np.isnan(frames).all()


def test_compressed_members_are_read_too(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write(tmp_path / "a.wav", tone(0.1))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.wav", "a.wav")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    assert read_sound(AudioClip(str(tmp_path / "a.zip"), member="a.wav")).count == 800
