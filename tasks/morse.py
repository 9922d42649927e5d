"""What is sent in Morse code? Dots, dashes and gaps by frame, a clip's character, or its text.

Every clip is generated from (seed, split, index): nothing is stored or downloaded, and the truth
is exact. See :mod:`tasks.morse_code` for timing, fading and noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from seqattn import Example
from seqattn.data import Reader
from tasks.morse_code import (
    CHARACTERS,
    SplitName,
    draw_sending,
    draw_text,
    key_text,
    render,
    seeded,
)


class Morse(Reader):
    """Gives random texts in Morse code, with dots, dashes and gaps as segments in seconds.

    Sources are (waveform, 8000). Labels are ``dot``, ``dash``, ``character gap`` and ``word gap``;
    the short gaps within a character and the silence around the text are in no segment.

    Args:
        split: "train", "val" or "test": independent texts and noise.
        count: number of clips.
        characters: letters and digits in a clip; 8 last about 3 to 12 seconds.
        min_characters: if given, a clip has a number of them drawn from this to `characters`.
        snr_db: mean power of the tone while the key is down over that of the white noise in the
            whole band to 4 kHz, in dB.
        seed: decides all that is random.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        split: SplitName,
        count: int,
        *,
        characters: int = 8,
        min_characters: int | None = None,
        snr_db: float = 10.0,
        seed: int = 0,
    ) -> None:
        _require_positive("count", count)
        _require_positive("characters", characters)
        if min_characters is not None and not 1 <= min_characters <= characters:
            raise ValueError(f"min_characters must be in 1 … {characters}, got {min_characters}")
        seeded(seed, split, 0)
        self.split = split
        self.count = count
        self.characters = characters
        self.min_characters = min_characters
        self.snr_db = snr_db
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the clips."""
        for index in range(self.count):
            yield self.make(index)[0]

    def make(self, index: int) -> tuple[Example, str]:
        """Return a clip, and the text that it sends."""
        generator = seeded(self.seed, self.split, index)
        sending = draw_sending(generator, self.snr_db)
        count = self.characters
        if self.min_characters is not None:
            count = int(generator.integers(self.min_characters, count + 1))
        text = draw_text(generator, count)
        segments = key_text(text, sending)
        sound = render(segments, sending, generator)
        return Example(source=sound, target=segments, key=f"{self.split}:{index}"), text


class MorseText(Morse):
    """Gives the clips of :class:`Morse`, with their text, a string, as target.

    Words are 1 to 6 letters and digits long. The arguments are those of :class:`Morse`.
    """

    def read(self) -> Iterator[Example]:
        """Yield the clips."""
        for index in range(self.count):
            clip, text = self.make(index)
            yield replace(clip, target=text)


class MorseClips(Reader):
    """Gives single characters in Morse code, of 36 classes, every one equally often.

    Sources are (waveform, 8000), targets the character.

    Args:
        split: "train", "val" or "test": independent characters and noise.
        count: number of clips.
        snr_db: as in :class:`Morse`.
        seed: decides all that is random.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self, split: SplitName, count: int, *, snr_db: float = 10.0, seed: int = 0
    ) -> None:
        _require_positive("count", count)
        seeded(seed, split, 0)
        self.split = split
        self.count = count
        self.snr_db = snr_db
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the clips."""
        for index in range(self.count):
            generator = seeded(self.seed, self.split, index)
            character = CHARACTERS[index % len(CHARACTERS)]
            sending = draw_sending(generator, self.snr_db)
            sound = render(key_text(character, sending), sending, generator)
            yield Example(source=sound, target=character, key=f"{self.split}:{index}")


def _require_positive(name: str, number: int) -> None:
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
