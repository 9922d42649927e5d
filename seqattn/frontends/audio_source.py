"""What counts as a raw sound: a path, a stretch of a file, or samples in memory."""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqattn.frontends.audio_files import Sound, measure_sound, mix_down, read_sound
from seqattn.sound import AudioClip

_MOST_CHANNELS = 32
_INTEGERS = ("int8", "int16", "int32")

RawSound = AudioClip | tuple[Any, int]
"""A stretch of a file, or a checked waveform (n, channels) with its rate."""


def parse_sound(raw: Any) -> RawSound:
    """Return the stretch of a file that a source names, or its waveform with its rate.

    A waveform of one dimension is mono. Of two dimensions, a NumPy array is (samples, channels),
    as soundfile gives it, and a tensor (channels, samples), as torchaudio gives it. Whole numbers
    of 8, 16 or 32 bits, signed, are divided by the largest of their type.

    Shape:
        returns: waveform (n, channels), a float32 array.

    Raises:
        TypeError: if the source is no sound.
        ValueError: if the rate or the shape of the waveform breaks a rule.
    """
    if isinstance(raw, AudioClip):
        return raw
    if isinstance(raw, str | os.PathLike):
        return AudioClip(os.fspath(raw))
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], np.ndarray | Tensor):
        return _check_waveform(raw[0]), _check_rate(raw[1])
    raise TypeError(
        "a sound must be a path, an AudioClip or a tuple (waveform, rate) of an array or tensor, "
        f"got {type(raw).__name__}"
    )


def measure_source(raw: RawSound) -> Sound:
    """Return rate, number of samples and fault of a sound, without its samples.

    Raises:
        DataError: if there is no such file.
    """
    if isinstance(raw, AudioClip):
        return measure_sound(raw)
    waveform, rate = raw
    return Sound(rate, len(waveform), torch.empty(0), _fault_of(waveform))


def read_source(raw: RawSound) -> Sound:
    """Return the samples of a sound.

    Raises:
        DataError: if there is no such file.
    """
    if isinstance(raw, AudioClip):
        return read_sound(raw)
    waveform, rate = raw
    return mix_down(waveform, rate, len(waveform), _fault_of(waveform))


def name_source(raw: RawSound) -> str | None:
    """Return the file's name; None for samples in memory."""
    return raw.name if isinstance(raw, AudioClip) else None


def describe_source(raw: RawSound) -> str:
    """Return what tells a sound from others: its file's name, or a waveform's size and checksum."""
    if isinstance(raw, AudioClip):
        return raw.name
    waveform, rate = raw
    checksum = zlib.crc32(waveform.tobytes())
    return f"a waveform of {len(waveform)} samples at {rate} Hz (CRC-32 {checksum:08x})"


def _fault_of(waveform: Any) -> str | None:
    return None if len(waveform) else "a sound must hold at least one sample, got none"


def _check_rate(rate: Any) -> int:
    try:
        number = int(rate)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1 or number != rate:
        raise ValueError(f"the rate of a waveform must be a positive whole number, got {rate!r}")
    return number


def _check_waveform(waveform: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    is_tensor = isinstance(waveform, Tensor)
    array = _to_array(waveform) if is_tensor else waveform
    order = "(channels, samples)" if is_tensor else "(samples, channels)"
    frames = array[:, None] if array.ndim == 1 else array.T if is_tensor else array
    if frames.ndim != 2 or not 1 <= frames.shape[1] <= _MOST_CHANNELS:
        raise ValueError(
            f"a waveform given as {type(waveform).__name__} must have shape (samples,) or {order} "
            f"with 1 to {_MOST_CHANNELS} channels, got {tuple(array.shape)}"
        )
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity, which is then found with the others
            return frames.astype(np.float32, copy=False)
    if array.dtype.name not in _INTEGERS:  # 64 bits would make silence of what was 16 before
        raise ValueError(f"a waveform must hold floats, {', '.join(_INTEGERS)}, got {array.dtype}")
    return (frames / -float(np.iinfo(array.dtype).min)).astype(np.float32)


def _to_array(waveform: Tensor) -> np.ndarray[Any, Any]:
    floats = waveform.float() if waveform.is_floating_point() else waveform  # NumPy lacks bfloat16
    found: np.ndarray[Any, Any] = floats.detach().cpu().numpy()
    return found
