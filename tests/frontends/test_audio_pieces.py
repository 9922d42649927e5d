from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn import AudioClip
from seqattn.frontends.audio_pieces import cut_sound


@pytest.mark.parametrize("duration", [0.0, 9.9, 10.0])
def test_a_sound_that_fits_is_not_cut(duration: float) -> None:
    assert cut_sound("a.wav", duration, chunk=10, overlap=2, grid=0.1) is None


def test_a_file_is_cut_into_stretches() -> None:
    found = cut_sound("a.wav", 20.0, chunk=10, overlap=2, grid=0.1)
    assert found is not None
    assert [p.start for p in found] == pytest.approx([0, 8, 16])
    assert [p.end for p in found] == pytest.approx([10, 18, 20])
    assert [p.source for p in found] == [AudioClip("a.wav", p.start, p.end) for p in found]


def test_a_stretch_of_an_archive_is_cut_where_it_lies() -> None:
    clip = AudioClip("a.zip", 5.0, 17.0, "b.wav")
    found = cut_sound(clip, 12.0, chunk=10, overlap=2, grid=0.5)
    assert found is not None
    assert [p.source for p in found] == [
        AudioClip("a.zip", 5.0, 15.0, "b.wav"),
        AudioClip("a.zip", 13.0, 17.0, "b.wav"),
    ]
    assert [(p.start, p.end) for p in found] == [(0.0, 10.0), (8.0, 12.0)]


def test_a_waveform_is_cut_without_a_copy() -> None:
    waveform = np.arange(50, dtype=np.float32)
    found = cut_sound((waveform, 5), 10.0, chunk=6, overlap=2, grid=1)
    assert found is not None
    assert [list(p.source[0][[0, -1]]) for p in found] == [[0, 29], [20, 49]]
    assert all(p.source[1] == 5 and np.shares_memory(p.source[0], waveform) for p in found)


@given(
    st.floats(0.1, 5000), st.floats(1, 60), st.floats(0, 0.9), st.sampled_from([0.01, 0.04, 0.1])
)
def test_pieces_cover_a_sound_and_lie_on_the_grid(
    duration: float, chunk: float, share: float, grid: float
) -> None:
    overlap = share * (chunk - grid)
    found = cut_sound("a.wav", duration, chunk=chunk, overlap=overlap, grid=grid)
    if found is None:
        assert duration <= chunk
        return
    assert (found[0].start, found[-1].end) == (0.0, duration)
    for one, other in pairwise(found):
        assert one.end - other.start >= overlap - 1e-3
        assert one.end < duration
    for piece in found:
        assert 0 < piece.end - piece.start <= chunk + 1e-9
        assert math.isclose(piece.start / grid, round(piece.start / grid), abs_tol=1e-6)


@pytest.mark.parametrize(("chunk", "overlap"), [(2.0, 2.0), (2.0, 1.95), (2.0, -1.0)])
def test_a_chunk_is_refused_when_it_is_no_longer_than_the_overlap(
    chunk: float, overlap: float
) -> None:
    with pytest.raises(ValueError, match=r"chunk must be longer than overlap = .* got 2.0"):
        cut_sound("a.wav", 9.0, chunk=chunk, overlap=overlap, grid=0.1)
