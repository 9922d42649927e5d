"""Small sounds, and damaged ones, that the tests of the audio front-end share."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from seqattn.frontends.audio_features import LogMel

RATE = 8000
FORMATS = ("wav", "flac", "ogg", "mp3")
SETTINGS = LogMel(RATE, window=200, hop=80, mels=20, low_hz=20.0, high_hz=4000.0)

Waveform = npt.NDArray[np.float32]


def tone(seconds: float = 1.0, hz: float = 440.0, rate: int = RATE) -> Waveform:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def hiss(count: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def write(path: Path, samples: Waveform, rate: int = RATE, *, subtype: str | None = None) -> str:
    soundfile.write(str(path), samples, rate, subtype=subtype)
    return str(path)


def cut(path: str, share: float) -> str:
    """Leave the first part of a file."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * share)])
    return path


def flip(path: str, share: float) -> str:
    """Invert one byte of a file, after that share of it."""
    content = bytearray(Path(path).read_bytes())
    content[int(len(content) * share)] ^= 0xFF
    Path(path).write_bytes(content)
    return path


def zipped(path: Path, members: dict[str, Waveform]) -> str:
    """Write WAV members to an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, samples in members.items():
            stream = io.BytesIO()
            soundfile.write(stream, samples, RATE, format="WAV", subtype="FLOAT")
            archive.writestr(name, stream.getvalue())
    return str(path)


def set_wav_rate(path: str, rate: int) -> str:
    """Overwrite the rate in the header of a WAV file."""
    content = bytearray(Path(path).read_bytes())
    content[24:28] = struct.pack("<I", rate)
    Path(path).write_bytes(content)
    return path
