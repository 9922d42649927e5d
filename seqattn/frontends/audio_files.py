"""Sound files to samples of one channel: whole, in stretches, in zip archives, damaged or not."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqattn.errors import DataError
from seqattn.frontends.audio_containers import promised_frames, tells_length
from seqattn.frontends.audio_libraries import import_audio_library
from seqattn.sound import AudioClip

TOLERANCE = 0.05
"""Seconds by which a stretch may end after its file: what rounding in a manifest makes."""

LOUDEST = 1e6
"""Samples beyond this are no sound, and their power would overflow."""

LONGEST_SILENCE = 60.0
"""Seconds of silence that stand for what a file lacks of a stretch, at most: a mistyped end must
not fill the memory."""

_BLOCK = 1024
_MP3_LEAD = 16_384  # frames that an MP3 decoder needs after a seek before it decodes right
_SILENT_RATE = 16_000  # of a sound that has no rate, since its header cannot be read

_Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Samples of one channel, and what is wrong with them.

    Args:
        rate: samples per second.
        count: samples that there should be.
        samples: those that there are, finite. Shape: (n,) float32, n ≤ count.
        fault: the rule that the sound breaks; None for a sound that is whole.
    """

    rate: int
    count: int
    samples: Tensor
    fault: str | None = None


def measure_sound(clip: AudioClip) -> Sound:
    """Return rate, count and fault as the file's header tells them, without samples.

    Raises:
        DataError: if there is no such file, or no such member in the archive.
    """
    return _open_sound(clip, _measure)


def read_sound(clip: AudioClip) -> Sound:
    """Return the samples of a stretch; channels are averaged, nothing outside of it is kept.

    A file that is cut off gives what it holds; samples that are no numbers become silence. Both
    are told by the fault. A header that does not tell a length is a fault too.

    Raises:
        DataError: if there is no such file, or no such member in the archive.
    """
    return _open_sound(clip, _read)


def mix_down(frames: _Samples, rate: int, count: int, fault: str | None) -> Sound:
    """Return the mean of the channels as a sound; what is no number becomes silence.

    Shape:
        frames (n, channels).
    """
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    samples = torch.from_numpy(np.array(mono))  # a copy: a caller's array may be read-only
    if len(samples) and not float(samples.abs().max()) <= LOUDEST:  # nan compares false
        wrong = ~(samples.abs() <= LOUDEST)
        first = int(wrong.nonzero()[0])
        fault = fault or (
            f"samples must be finite and at most {LOUDEST:g}, "
            f"got {float(samples[first])} at sample {first}"
        )
        samples = samples.masked_fill(wrong, 0.0)
    return Sound(rate, count, samples, fault)


def _measure(clip: AudioClip, stream: BinaryIO, sound: Any) -> Sound:
    frames, fault = promised_frames(stream, sound)
    start, count, outside = _place(clip, frames, sound.samplerate)
    return Sound(sound.samplerate, count, torch.empty(0), fault or outside)


def _read(clip: AudioClip, stream: BinaryIO, sound: Any) -> Sound:
    frames, fault = promised_frames(stream, sound)
    start, count, outside = _place(clip, frames, sound.samplerate)
    found = _read_frames(stream, sound, start, min(count, frames - start))
    if not outside and len(found) < count:
        if tells_length(stream, sound):
            cut = f"it must hold {frames} frames as its header says, got {start + len(found)}"
            fault = fault or cut
        else:
            count = len(found)
    return mix_down(found, sound.samplerate, count, fault or outside)


def _place(clip: AudioClip, frames: int, rate: int) -> tuple[int, int, str | None]:
    """Return first sample and number of samples of a stretch, and the rule that it breaks."""
    start = round(clip.start * rate)
    last = max(clip.start, frames / rate) + LONGEST_SILENCE
    end = frames if clip.end is None else round(min(clip.end, last) * rate)
    if frames == 0:
        return start, max(end - start, 0), "a sound must hold at least one sample, got none"
    if start >= frames or end > frames + TOLERANCE * rate:
        fault = (
            f"the stretch must lie in the sound's {frames / rate:.3f} seconds, "
            f"got {clip.start} … {clip.end}"
        )
        return start, max(end - start, 0), fault
    return start, min(end, frames) - start, None


def _read_frames(stream: BinaryIO, sound: Any, start: int, count: int) -> _Samples:
    """Return frames (n, channels), n < count where the file ends or breaks before."""
    if count <= 0:
        return np.empty((0, sound.channels), dtype=np.float32)
    soundfile = import_audio_library("soundfile")
    before = min(start, _MP3_LEAD) if sound.format in ("MP3", "MPEG") else 0
    try:
        sound.seek(start - before)  # one read, since soundfile seeks after each
        found: _Samples = sound.read(before + count, dtype="float32", always_2d=True)
        return found[before:]
    except soundfile.SoundFileError:
        stream.seek(0)
        with soundfile.SoundFile(stream) as anew:  # a decoder that failed cannot seek any more
            return _read_until_broken(anew, start, count)


def _read_until_broken(sound: Any, start: int, count: int) -> _Samples:
    """Return the blocks before the one that the decoder refuses."""
    error = import_audio_library("soundfile").SoundFileError
    blocks: list[_Samples] = [np.empty((0, sound.channels), dtype=np.float32)]
    try:
        sound.seek(start)
        for size in [_BLOCK] * (count // _BLOCK) + [count % _BLOCK]:
            blocks.append(sound.read(size, dtype="float32", always_2d=True))
    except error:
        pass
    return np.concatenate(blocks)


def _open_sound(clip: AudioClip, use: Callable[[AudioClip, BinaryIO, Any], Sound]) -> Sound:
    """Open a clip's file for a function; a file that is no sound gives its fault alone."""
    soundfile = import_audio_library("soundfile")
    try:
        with _open_file(clip) as stream, soundfile.SoundFile(stream) as sound:
            return use(clip, stream, sound)
    except (soundfile.SoundFileError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = getattr(error, "error_string", "") or str(error)
        seconds = 0.0 if clip.end is None else min(clip.end - clip.start, LONGEST_SILENCE)
        fault = f"it must be a sound file that can be decoded, got one that cannot ({reason})"
        return Sound(_SILENT_RATE, round(seconds * _SILENT_RATE), torch.empty(0), fault)


@contextmanager
def _open_file(clip: AudioClip) -> Iterator[BinaryIO]:
    """Open a clip's file, or the whole member of an archive in memory.

    Raises:
        DataError: if there is none.
    """
    try:
        if clip.member is None:
            with open(clip.path, "rb") as stream:
                yield stream
            return
        archive = _open_archive(clip.path)
    except OSError as error:
        raise DataError(f"the file must be readable: {error.strerror}", path=clip.path) from error
    except zipfile.BadZipFile as error:
        raise DataError(f"the file must be a zip archive: {error}", path=clip.path) from error
    try:
        content = archive.read(clip.member)
    except KeyError:
        message = f"the archive must hold {clip.member!r}, got no such member"
        raise DataError(message, path=clip.path) from None
    yield io.BytesIO(content)


def _open_archive(path: str) -> zipfile.ZipFile:
    """Return an open archive, read anew when the file has changed."""
    status = os.stat(path)
    return _keep_archive(path, (status.st_mtime_ns, status.st_size), os.getpid())


@lru_cache(maxsize=4)
def _keep_archive(path: str, stamp: tuple[int, int], process: int) -> zipfile.ZipFile:
    """Open an archive once for each version and process: forked ones share a file's place."""
    return zipfile.ZipFile(path)
