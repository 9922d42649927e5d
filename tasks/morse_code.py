"""Morse code by the standard timing, as sound: generated and seeded, nothing stored.

This is no task: it is the generator that the tasks on Morse code share, since tasks do not import
each other. One dot lasts one unit, 1.2 / (words per minute) seconds ("PARIS " is 50 units); a dash
three; the gaps within a character, between characters and between words one, three and seven
(ITU-R M.1677-1).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

SplitName = Literal["train", "val", "test"]
Waveform = npt.NDArray[np.float32]
Segment = tuple[float, float, str]

RATE = 8000
"""Samples per second."""

CODE: dict[str, str] = {
    **{"A": ".-", "B": "-...", "C": "-.-.", "D": "-..", "E": ".", "F": "..-.", "G": "--."},
    **{"H": "....", "I": "..", "J": ".---", "K": "-.-", "L": ".-..", "M": "--", "N": "-."},
    **{"O": "---", "P": ".--.", "Q": "--.-", "R": ".-.", "S": "...", "T": "-", "U": "..-"},
    **{"V": "...-", "W": ".--", "X": "-..-", "Y": "-.--", "Z": "--.."},
    **{"0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-", "5": "....."},
    **{"6": "-....", "7": "--...", "8": "---..", "9": "----."},
}
"""Letters and digits: ``.`` is a dot, ``-`` a dash."""

CHARACTERS = "".join(CODE)

_MARKS = {".": ("dot", 1), "-": ("dash", 3)}
_CHARACTER_GAP, _WORD_GAP = ("character gap", 3), ("word gap", 7)
_RISE = 0.005  # seconds in which a tone rises and falls, so that it does not click


@dataclass(frozen=True)
class Sending:
    """How a text is sent, and what is heard.

    Args:
        words_per_minute: speed; a unit is 1.2 / speed seconds.
        pitch: of the tone, in Hz.
        silence: before the first and after the last tone, in seconds.
        fading: how far the tone's amplitude sinks, in 0 … 1: 0.5 is to the half.
        fading_rate: how often it sinks, in Hz.
        phase: of tone and fading, in radians.
        snr_db: 10 log10 of the mean power of the faded tone while the key is down, over the power
            of the white noise in the whole band, 0 … :data:`RATE` / 2 Hz. Above 300 there is none.
    """

    words_per_minute: float = 20.0
    pitch: float = 600.0
    silence: float = 0.3
    fading: float = 0.0
    fading_rate: float = 0.5
    phase: float = 0.0
    snr_db: float = np.inf


def draw_sending(generator: np.random.Generator, snr_db: float) -> Sending:
    """Return a random sending: 12 to 30 words per minute, 400 to 900 Hz, fading to the half."""
    return Sending(
        words_per_minute=generator.uniform(12, 30),
        pitch=generator.uniform(400, 900),
        silence=generator.uniform(0.1, 0.5),
        fading=generator.uniform(0, 0.5),
        fading_rate=generator.uniform(0.1, 1.0),
        phase=generator.uniform(0, 2 * np.pi),
        snr_db=snr_db,
    )


def draw_text(generator: np.random.Generator, characters: int) -> str:
    """Return random words of 1 to 6 random letters and digits, with spaces between."""
    words = []
    while characters > 0:
        size = min(characters, int(generator.integers(1, 7)))
        words.append("".join(generator.choice(list(CHARACTERS), size)))
        characters -= size
    return " ".join(words)


def seeded(seed: int, split: SplitName, index: int) -> np.random.Generator:
    """Return the generator of one example, a function of these three only.

    Raises:
        ValueError: if there is no such split.
    """
    if split not in get_args(SplitName):
        raise ValueError(f"split must be one of {', '.join(get_args(SplitName))}, got {split!r}")
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def key_text(text: str, sending: Sending) -> list[Segment]:
    """Return when the key is down, and the gaps that carry meaning, in seconds.

    Labels are ``dot``, ``dash``, ``character gap`` and ``word gap``. The gaps within a character
    and the silence around the text are in no segment.

    Raises:
        ValueError: if a character has no code.
    """
    unit = 1.2 / sending.words_per_minute
    segments: list[Segment] = []
    now = sending.silence

    def add(label: str, units: int) -> None:
        nonlocal now
        segments.append((now, now + units * unit, label))
        now += units * unit

    for number, word in enumerate(text.split()):
        if number:
            add(*_WORD_GAP)
        for place, character in enumerate(word):
            if character not in CODE:
                raise ValueError(f"text must be of {CHARACTERS} and spaces, got {character!r}")
            if place:
                add(*_CHARACTER_GAP)
            for position, mark in enumerate(CODE[character]):
                now += unit if position else 0.0
                add(*_MARKS[mark])
    return segments


def render(
    segments: list[Segment], sending: Sending, generator: np.random.Generator
) -> tuple[Waveform, int]:
    """Return the sound of segments and its rate.

    Its peak is 0.5, tone and noise together.

    Shape:
        returns: waveform (samples,) float32, and :data:`RATE`.

    Raises:
        ValueError: if there is no segment.
    """
    if not segments:
        raise ValueError("segments must hold a dot or dash, got none")
    samples = round((segments[-1][1] + sending.silence) * RATE)
    seconds = np.arange(samples) / RATE
    envelope = _envelope(segments, samples)
    sinking = 0.5 - 0.5 * np.cos(2 * np.pi * sending.fading_rate * seconds + sending.phase)
    amplitude = np.sqrt(2) * (1 - sending.fading * sinking)
    tone = amplitude * np.sin(2 * np.pi * sending.pitch * seconds + sending.phase)
    power = float(np.mean((tone**2)[envelope > 0]))
    noise = generator.standard_normal(samples) * np.sqrt(power * 10 ** (-sending.snr_db / 10))
    mixed = tone * envelope + noise
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32), RATE


def _envelope(segments: list[Segment], samples: int) -> npt.NDArray[np.float64]:
    """Return 1 while the key is down and 0 else, with edges of a raised cosine. (samples,)."""
    envelope = np.zeros(samples)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(round(_RISE * RATE)) + 0.5) / (_RISE * RATE))
    for start, end, label in segments:
        if label in ("dot", "dash"):
            first, last = round(start * RATE), round(end * RATE)
            envelope[first:last] = 1
            envelope[first : first + len(rise)] = rise
            envelope[last - len(rise) : last] = rise[::-1]
    return envelope
