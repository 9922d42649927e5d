import math

import pytest

from seqattn import AudioClip


def test_clip_is_the_whole_file_when_only_its_path_is_known() -> None:
    clip = AudioClip("a.wav")
    assert (clip.start, clip.end, clip.member) == (0.0, None, None)
    assert clip.name == "a.wav"


def test_name_holds_the_member_when_there_is_one() -> None:
    assert AudioClip("all.zip", member="a/b.wav").name == "all.zip:a/b.wav"


@pytest.mark.parametrize("start", [-0.1, math.nan, math.inf])
def test_clip_is_refused_when_it_begins_nowhere(start: float) -> None:
    with pytest.raises(ValueError, match=f"start must be at least 0 seconds, got {start}"):
        AudioClip("a.wav", start)


@pytest.mark.parametrize("end", [1.0, 0.5, math.nan, math.inf])
def test_clip_is_refused_when_it_has_no_length(end: float) -> None:
    with pytest.raises(ValueError, match=rf"end must lie after start = 1.0 seconds, got {end}"):
        AudioClip("a.wav", 1.0, end)
