from __future__ import annotations

import numpy as np
import pytest

from tasks.morse_code import (
    CHARACTERS,
    CODE,
    RATE,
    Sending,
    draw_sending,
    draw_text,
    key_text,
    render,
    seeded,
)

QUIET = Sending(words_per_minute=12, silence=0.2)  # a unit is 0.1 seconds


def units(text: str) -> int:
    """How long a text lasts, in units, without silence around it."""
    return round((key_text(text, QUIET)[-1][1] - 0.2) / 0.1)


def test_code_is_that_of_the_international_table() -> None:
    assert len(CHARACTERS) == len(set(CODE.values())) == 36
    assert [CODE[c] for c in "SOSQ5"] == ["...", "---", "...", "--.-", "....."]


@pytest.mark.parametrize(("text", "expected"), [("E", 1), ("T", 3), ("A", 5), ("PARIS", 43)])
def test_a_text_lasts_as_the_standard_says(text: str, expected: int) -> None:
    assert units(text) == expected


def test_the_standard_word_and_its_gap_are_fifty_units() -> None:
    assert units("PARIS PARIS") - units("PARIS") == 50


def test_segments_are_dots_dashes_and_the_gaps_that_carry_meaning() -> None:
    found = key_text("AE T", QUIET)
    assert [(label, round(10 * a - 2), round(10 * b - 2)) for a, b, label in found] == [
        ("dot", 0, 1),
        ("dash", 2, 5),  # 1 to 2 is the gap within a character
        ("character gap", 5, 8),
        ("dot", 8, 9),
        ("word gap", 9, 16),
        ("dash", 16, 19),
    ]


def test_a_character_without_a_code_is_refused() -> None:
    with pytest.raises(ValueError, match="text must be of ABC.* and spaces, got 'é'"):
        key_text("CAFé", QUIET)


def spectrum(sending: Sending, text: str = "TTT") -> tuple[np.ndarray, np.ndarray]:
    waveform, rate = render(key_text(text, sending), sending, np.random.default_rng(0))
    return np.abs(np.fft.rfft(waveform)), np.fft.rfftfreq(len(waveform), 1 / rate)


def test_the_tone_has_its_pitch() -> None:
    power, frequency = spectrum(Sending(pitch=700))
    assert frequency[power.argmax()] == pytest.approx(700, abs=2)


def test_the_key_is_heard_when_it_is_down_only() -> None:
    waveform, rate = render(key_text("AN", QUIET), QUIET, np.random.default_rng(0))
    assert rate == RATE
    assert waveform.dtype == np.float32
    assert len(waveform) == round((0.2 + 1.3 + 0.2) * RATE)  # A 5, gap 3, N 5 units
    loud = np.abs(waveform).reshape(-1, 80).max(1) > 0.1  # by hundredths of a second
    down = np.zeros(170, dtype=bool)
    for start, end in ((20, 30), (40, 70), (100, 130), (140, 150)):
        down[start:end] = True
    assert (loud == down).all()


def test_a_tone_rises_in_five_milliseconds() -> None:
    waveform, _ = render(key_text("T", QUIET), QUIET, np.random.default_rng(0))
    start = round(0.2 * RATE)
    assert np.abs(waveform[start : start + 8]).max() < 0.1  # the first millisecond
    assert np.abs(waveform[start + 40 : start + 80]).max() > 0.45


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_has_the_power_that_was_asked(snr_db: float) -> None:
    sending = Sending(words_per_minute=12, silence=2.0, fading=0.5, snr_db=snr_db)
    segments = key_text("TTTTTT", sending)
    waveform, _ = render(segments, sending, np.random.default_rng(0))
    down = np.zeros(len(waveform), dtype=bool)
    for start, end, label in segments:
        down[round(start * RATE) : round(end * RATE)] |= label == "dash"
    noise = np.mean(waveform[: 2 * RATE] ** 2)
    tone = np.mean(waveform[down] ** 2) - noise
    assert 10 * np.log10(tone / noise) == pytest.approx(snr_db, abs=0.5)


def test_fading_sinks_to_what_was_asked() -> None:
    sending = Sending(words_per_minute=4, fading=0.5, fading_rate=2.0)  # a dash of 0.9 seconds
    waveform, _ = render(key_text("T", sending), sending, np.random.default_rng(0))
    peaks = np.abs(waveform[round(0.3 * RATE) :][400:6400]).reshape(-1, 40).max(1)
    assert peaks.min() / peaks.max() == pytest.approx(0.5, abs=0.05)


def test_nothing_to_send_is_refused() -> None:
    with pytest.raises(ValueError, match="segments must hold a dot or dash, got none"):
        render([], QUIET, np.random.default_rng(0))


def test_a_text_has_its_number_of_characters_in_short_words() -> None:
    for index in range(20):
        text = draw_text(seeded(0, "train", index), 8)
        assert len(text.replace(" ", "")) == 8
        assert set(text) <= {*CHARACTERS, " "}
        assert all(1 <= len(word) <= 6 for word in text.split(" "))


def test_sendings_lie_in_their_ranges_and_differ() -> None:
    drawn = [draw_sending(seeded(0, "train", index), 10.0) for index in range(50)]
    assert all(12 <= s.words_per_minute <= 30 and 400 <= s.pitch <= 900 for s in drawn)
    assert len({s.pitch for s in drawn}) == 50


def test_a_seed_is_a_function_of_seed_split_and_index() -> None:
    numbers = [
        seeded(seed, split, index).random()
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for index in (0, 1)
    ]
    assert len(set(numbers)) == 12
    assert seeded(1, "val", 1).random() == numbers[9]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        seeded(0, "dev", 0)  # type: ignore[arg-type]
