"""Whether a sound file is whole: what its container says, which the decoder does not check.

libsndfile gives fewer samples, and no error, of a WAV, OGG or MP3 file that was cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

_SAMPLE_BYTES = {
    "PCM_U8": 1,
    "PCM_S8": 1,
    "ULAW": 1,
    "ALAW": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}
_STREAMED = 0x7FFFF000
"""A chunk of this size or more was written into a pipe: its length was not known."""

_MAX_FRAMES_PER_BYTE = 10_000
"""No codec stores silence in less; a header that promises more is wrong."""

_OGG_PAGE = 27 + 255 + 255 * 255  # header, segment table, largest body
_OGG_LAST = 0x04  # flag of a stream's last page
_MP3_HEAD = 4096


def promised_frames(stream: BinaryIO, sound: Any) -> tuple[int, str | None]:
    """Return the frames that a file promises, and the rule that it breaks, or None.

    Checked are WAV, OGG and FLAC; MP3 shows when decoded, see :func:`tells_length`. Of an OGG
    file that was cut off the promised frames are those that are there.

    Args:
        stream: the file; left where it stood.
        sound: the same, opened by soundfile.
    """
    frames = int(sound.frames)
    place = stream.tell()
    try:
        size = stream.seek(0, 2)
        if frames > _MAX_FRAMES_PER_BYTE * size:
            return 0, f"the header must tell the number of frames, got {frames} in {size} bytes"
        if sound.format in ("WAV", "WAVEX"):
            return _wav_frames(stream, size, sound)
        if sound.format == "OGG" and not _has_last_page(stream, size):
            return frames, f"an OGG file must have its last page, got {frames} frames without it"
        return frames, None
    finally:
        stream.seek(place)


def tells_length(stream: BinaryIO, sound: Any) -> bool:
    """Return whether the header tells the number of frames; that of a bare MP3 is an estimate."""
    if sound.format not in ("MP3", "MPEG"):
        return True
    place = stream.tell()
    stream.seek(0)
    head = stream.read(_MP3_HEAD)
    if head[:3] == b"ID3" and len(head) >= 10:  # a tag before the first frame
        size = 0
        for byte in head[6:10]:  # seven bits of each
            size = size << 7 | byte & 0x7F
        stream.seek(10 + size)
        head = stream.read(_MP3_HEAD)
    stream.seek(place)
    return b"Xing" in head or b"Info" in head


def _wav_frames(stream: BinaryIO, size: int, sound: Any) -> tuple[int, str | None]:
    """Compare the size of the samples with what its header says."""
    frames = int(sound.frames)
    for name, start, length in _wav_chunks(stream):
        if name != b"data":
            continue
        there = size - start
        if length <= there or length >= _STREAMED:
            break
        fault = f"the header promises {length} bytes of samples, got {there}"
        width = _SAMPLE_BYTES.get(sound.subtype, 0) * sound.channels
        return (length // width if width else frames * length // max(there, 1)), fault
    return frames, None


def _wav_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and declared length of each chunk of a little-endian RIFF file."""
    stream.seek(0)
    if stream.read(4) != b"RIFF":
        return
    place = 12
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack("<4sI", head)
        yield name, place + 8, length
        place += 8 + length + length % 2


def _has_last_page(stream: BinaryIO, size: int) -> bool:
    """Return whether an OGG file ends in a whole page that is marked as the last."""
    stream.seek(max(0, size - _OGG_PAGE))
    tail = stream.read()
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27:
        return False
    segments = page[27 : 27 + page[26]]
    is_whole = len(segments) == page[26] and len(page) >= 27 + page[26] + sum(segments)
    return is_whole and bool(page[5] & _OGG_LAST)
