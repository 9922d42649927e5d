import io
import struct
from pathlib import Path

import pytest
import soundfile

from seqattn.frontends.audio_containers import promised_frames, tells_length
from tests.frontends.sounds import FORMATS, cut, flip, hiss, tone, write

UNCOMPRESSED = [
    (kind, subtype)
    for kind, subtypes in {
        "WAV": ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW"),
        "WAVEX": ("PCM_16",),
        "RF64": ("PCM_16", "FLOAT"),
        "AIFF": ("PCM_S8", "PCM_16", "FLOAT", "ULAW"),
        "AU": ("PCM_16", "FLOAT", "ALAW"),
        "CAF": ("PCM_16", "DOUBLE"),
    }.items()
    for subtype in subtypes
]


def encode(kind: str, subtype: str, count: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, hiss(count), 8000, format=kind, subtype=subtype)
    return stream.getvalue()


def examine(content: bytes) -> tuple[int, str | None]:
    stream = io.BytesIO(content)
    with soundfile.SoundFile(stream) as sound:
        place = stream.tell()
        found = promised_frames(stream, sound)
        assert stream.tell() == place
        return found


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_whole_file_promises_its_frames(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(0.5))
    assert examine(Path(path).read_bytes()) == (4000, None)


@pytest.mark.parametrize(("kind", "subtype"), UNCOMPRESSED)
def test_an_uncompressed_file_that_is_cut_promises_all_its_frames(kind: str, subtype: str) -> None:
    content = encode(kind, subtype, 20_000)
    assert examine(content) == (20_000, None)
    for missing in (1, 1000):  # of CAF files that lack more, libsndfile opens none
        frames, fault = examine(content[:-missing])
        assert frames == 20_000
        assert fault is not None
        assert fault.startswith("the header promises ")


def test_a_file_of_more_than_four_gigabytes_says_so_in_its_first_chunk() -> None:
    content = bytearray(encode("RF64", "PCM_16", 100))
    content[28:36] = struct.pack("<Q", 6 << 30)
    frames, fault = examine(bytes(content))
    assert frames == 3 << 30
    assert fault == f"the header promises {6 << 30} bytes of samples, got 200"


def test_a_wav_file_of_a_compressing_codec_promises_its_frames_when_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1.0), subtype="IMA_ADPCM")
    frames, fault = examine(Path(cut(path, 0.5)).read_bytes())
    assert frames == pytest.approx(8000, rel=0.1)
    assert fault is not None


def test_an_ogg_file_that_is_cut_has_no_last_page(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", hiss(16_000))
    for share in (0.99, 0.7):
        _, fault = examine(Path(cut(path, share)).read_bytes())
        assert fault is not None
        assert fault.startswith("an OGG file must have whole pages at both ends, got ")


@pytest.mark.parametrize("share", [0.5, 0.7, 0.98, 0.999])
def test_an_ogg_file_is_a_fault_when_its_first_or_last_page_is_damaged(
    share: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.ogg", hiss(16_000), rate=16_000)  # two pages of headers, two more
    frames, fault = examine(Path(flip(path, share)).read_bytes())
    assert frames < 16_000
    assert fault == f"an OGG file must have whole pages at both ends, got {frames} frames"


@pytest.mark.parametrize("length", [0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_file_from_a_pipe_is_whole_when_its_length_was_unknown(
    length: int, tmp_path: Path
) -> None:
    content = bytearray(Path(write(tmp_path / "a.wav", tone(0.5))).read_bytes())
    content[40:44] = struct.pack("<I", length)
    assert examine(bytes(content)) == (4000, None)


def test_a_wav_file_may_have_further_chunks(tmp_path: Path) -> None:
    content = Path(write(tmp_path / "a.wav", tone(0.5))).read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    assert examine(content[:12] + odd + content[12:] + odd) == (4000, None)
    _, fault = examine((content[:12] + odd + content[12:])[:-100])
    assert fault == "the header promises 8000 bytes of samples, got 7900"


def test_a_header_is_refused_when_it_promises_more_than_any_codec_holds(tmp_path: Path) -> None:
    content = bytearray(Path(write(tmp_path / "a.flac", tone(0.5))).read_bytes())
    content[21] |= 0x0F  # the number of frames, 36 bits, all set
    content[22:26] = b"\xff" * 4
    frames, fault = examine(bytes(content))
    assert frames == 0
    assert fault is not None
    assert fault.startswith(f"the header must tell the number of frames, got {2**36 - 1} in ")


def test_a_bare_mp3_does_not_tell_its_length(tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "a.mp3", hiss(16_000))).read_bytes()
    second = whole.index(whole[:2], 4)  # the first frame holds the table of contents
    tagged = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256) + whole
    for content, expected in ((whole, True), (tagged, True), (whole[second:], False)):
        stream = io.BytesIO(content)
        with soundfile.SoundFile(stream) as sound:
            assert tells_length(stream, sound) is expected
