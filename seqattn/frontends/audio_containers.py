"""Whether a sound file is whole: what its container says, which the decoder does not check.

libsndfile gives fewer samples, and no error, of most files that were cut off.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple


class _Layout(NamedTuple):
    """How a container lists its chunks, and which one holds the samples.

    Args:
        head: name and length of a chunk.
        first: where the first chunk begins.
        align: chunks begin at multiples of it.
        samples: name of the chunk of the samples.
        lead: bytes of that chunk before the samples.
    """

    head: struct.Struct
    first: int
    align: int
    samples: bytes
    lead: int


_WAV = _Layout(struct.Struct("<4sI"), 12, 2, b"data", 0)
_AIFF = _Layout(struct.Struct(">4sI"), 12, 2, b"SSND", 8)
_CAF = _Layout(struct.Struct(">4sq"), 8, 1, b"data", 4)
_LAYOUTS = {b"RIFF": _WAV, b"RF64": _WAV, b"FORM": _AIFF, b"caff": _CAF}
"""By the first four bytes of the file."""

_AU = b".snd"

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
"""Samples of this size or more was written into a pipe: its length was not known."""

_MAX_FRAMES_PER_BYTE = 10_000
"""No codec stores silence in less; a header that promises more is wrong."""

_OGG_PAGE = 27 + 255 + 255 * 255  # header, segment table, largest body
_OGG_LAST = 0x04  # flag of a stream's last page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MP3_HEAD = 4096


def promised_frames(stream: BinaryIO, sound: Any) -> tuple[int, str | None]:
    """Return the frames that a file promises, and the rule that it breaks, or None.

    Checked are WAV, RF64, AIFF, AU, CAF and both ends of OGG; the inside of OGG, FLAC and MP3 show
    when decoded, see :func:`tells_length`. Of an OGG file without its ends the promised frames are
    those that are there.

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
        if sound.format == "OGG" and not _has_whole_ends(stream, size):
            return frames, f"an OGG file must have whole pages at both ends, got {frames} frames"
        return _declared_frames(stream, size, sound)
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


def _declared_frames(stream: BinaryIO, size: int, sound: Any) -> tuple[int, str | None]:
    """Compare the size of the samples with what their header says, where one does."""
    frames = int(sound.frames)
    start, length = _declared_samples(stream)
    there = size - start
    if length <= there:
        return frames, None
    fault = f"the header promises {length} bytes of samples, got {there}"
    width = _SAMPLE_BYTES.get(sound.subtype, 0) * sound.channels
    return (length // width if width else frames * length // max(there, 1)), fault


def _declared_samples(stream: BinaryIO) -> tuple[int, int]:
    """Return where the samples begin and how many bytes they have; 0 where nothing tells."""
    stream.seek(0)
    head = stream.read(36)
    layout = _LAYOUTS.get(head[:4])
    start = length = 0
    if head[:4] == _AU:
        start, length = struct.unpack_from(">II", head, 4)
    elif layout is not None:
        for name, place, declared in _chunks(stream, layout):
            if name == layout.samples:
                start, length = place + layout.lead, declared - layout.lead
                break
    if head[:4] == b"RF64" and start:
        return start, int.from_bytes(head[28:36], "little")  # of its first chunk, in 64 bits
    return start, 0 if length >= _STREAMED else length


def _chunks(stream: BinaryIO, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and declared length of each chunk."""
    place = layout.first
    while True:
        stream.seek(place)
        head = stream.read(layout.head.size)
        if len(head) < layout.head.size:
            return
        name, length = layout.head.unpack(head)
        place += layout.head.size
        yield name, place, length
        place += max(length, 0) + -length % layout.align


def _has_whole_ends(stream: BinaryIO, size: int) -> bool:
    """Return whether an OGG file's pages are whole up to the first with sound, and the last one.

    The decoder takes the number of frames from these; it leaves out pages that are damaged.
    """
    page, place, is_begun = b"", 0, False
    while not is_begun:
        page = _read_page(stream, place)
        if not page:
            return False
        place += len(page)
        is_begun = any(page[6:14]) or bool(page[5] & _OGG_LAST)  # headers end at time 0
    tail = max(0, size - _OGG_PAGE)
    stream.seek(tail)
    page = _read_page(stream, tail + stream.read().rfind(b"OggS"))
    return bool(page) and bool(page[5] & _OGG_LAST)


def _read_page(stream: BinaryIO, place: int) -> bytes:
    """Return the OGG page at a place; nothing where there is none that is whole."""
    stream.seek(place)
    head = stream.read(27)
    if len(head) < 27 or head[:4] != b"OggS":
        return b""
    segments = stream.read(head[26])
    page = head + segments + stream.read(sum(segments))
    return page if page[22:26] == _page_checksum(page) else b""


def _page_checksum(page: bytes) -> bytes:
    """Return the checksum of an OGG page (RFC 3533, section 6).

    It is that of zlib with the bits of every byte, and of the sum, in the other order, and without
    inverting them at begin and end.
    """
    blank = page[:22] + bytes(4) + page[26:]  # where the checksum itself stands
    found = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return found.to_bytes(4, "big").translate(_REVERSED)
