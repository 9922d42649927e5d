from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqattn.heads.segments import read_segments
from tasks.morse import Morse, MorseClips, MorseText
from tasks.morse_code import CHARACTERS, CODE, RATE


def test_clips_are_the_same_at_every_reading_and_whatever_their_number() -> None:
    first, again = (list(Morse("train", count, seed=3).read()) for count in (4, 2))
    for one, other in zip(first, again, strict=False):
        assert np.array_equal(one.source[0], other.source[0])
        assert (one.target, one.key) == (other.target, other.key)
    assert first[0].key == "train:0"


@pytest.mark.parametrize("make", [Morse, MorseClips, MorseText])
def test_splits_and_seeds_have_no_clip_in_common(make: Any) -> None:
    readers = [make("train", 3), make("val", 3), make("test", 3), make("train", 3, seed=1)]
    sounds = {example.source[0].tobytes() for reader in readers for example in reader.read()}
    assert len(sounds) == 12


def test_segments_lie_in_their_sound() -> None:
    labels = set()
    for example in Morse("train", 30).read():
        waveform, rate = example.source
        assert rate == RATE
        assert np.isfinite(waveform).all()
        assert read_segments(example.target) == example.target
        assert example.target[-1][1] < len(waveform) / rate
        labels |= {label for _, _, label in example.target}
    assert labels == {"dot", "dash", "character gap", "word gap"}


def test_text_is_what_the_clip_of_the_same_number_sends() -> None:
    for clip, text in zip(Morse("val", 5).read(), MorseText("val", 5).read(), strict=True):
        assert np.array_equal(clip.source[0], text.source[0])
        assert clip.key == text.key
        words = text.target.split()
        marks = [mark for word in words for character in word for mark in CODE[character]]
        names = {".": "dot", "-": "dash"}
        sent = [label for _, _, label in clip.target if not label.endswith("gap")]
        assert sent == [names[mark] for mark in marks]
        gaps = [label for _, _, label in clip.target if label == "word gap"]
        assert (len(gaps), len("".join(words))) == (len(words) - 1, 8)


def test_clips_hold_every_character_equally_often() -> None:
    targets = [example.target for example in MorseClips("val", 72).read()]
    assert sorted(targets) == sorted(2 * CHARACTERS)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Morse("train", 0), "count must be at least 1, got 0"),
        (lambda: Morse("train", 1, characters=0), "characters must be at least 1, got 0"),
        (lambda: MorseClips("train", -1), "count must be at least 1, got -1"),
        (lambda: Morse("dev", 1), "split must be one of train, val, test, got 'dev'"),
        (lambda: MorseClips("dev", 1), "split must be one of train, val, test, got 'dev'"),
    ],
)
def test_arguments_are_refused_when_wrong(make: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


def test_texts_of_drawn_length() -> None:
    reader = MorseText("train", 40, characters=3, min_characters=2)
    texts = [example.target for example in reader.read()]
    assert {len(text.replace(" ", "")) for text in texts} == {2, 3}


@pytest.mark.parametrize("fewest", [0, 4])
def test_fewest_characters_lie_below_the_most(fewest: int) -> None:
    with pytest.raises(ValueError, match=f"min_characters must be in 1 … 3, got {fewest}"):
        MorseText("train", 1, characters=3, min_characters=fewest)
