import json
from pathlib import Path

import pytest
import torch

from seqattn.frontends.text_vocabulary import SPECIALS, UNKNOWN, TextVocabulary, Units


def fitted(units: Units, sides: list[str | list[str]], **settings: object) -> TextVocabulary:
    vocabulary = TextVocabulary(units, **settings)  # type: ignore[arg-type]
    vocabulary.fit(sides)
    return vocabulary


def test_words_are_ordered_by_count_then_code_point():
    vocabulary = fitted("word", ["b a b", ["a", "c", "d e"]])

    assert vocabulary.symbols == [*SPECIALS, "a", "b", "c", "d e"]
    assert vocabulary.encode("c b z") == [7, 6, UNKNOWN]


def test_words_are_unknown_when_rare_or_beyond_the_size():
    assert fitted("word", ["b a b"], min_count=2).symbols == [*SPECIALS, "b"]
    assert fitted("word", ["b a b"], size=6).symbols == [*SPECIALS, "b"]


def test_words_keep_the_case_of_their_characters_when_lowercased():
    vocabulary = fitted("word", ["The the THE"], lowercase=True)

    assert vocabulary.symbols == [*SPECIALS, "the"]
    assert vocabulary.encode_word("tHe") == 5
    assert vocabulary.encode_characters("T") != vocabulary.encode_characters("t")


def test_special_symbols_are_not_met_when_text_spells_them():
    for units in ("word", "character", "subword"):
        vocabulary = fitted(units, [["<mask>", "<end>"]])
        assert all(number == UNKNOWN or number >= 5 for number in vocabulary.encode("<mask>"))
    words = fitted("word", [["<mask>"]])
    assert words.encode_word("<mask>") == 5


@pytest.mark.parametrize(
    ("units", "text"),
    [("word", "the cat"), ("character", "the cat"), ("subword", "thé \U0001f600")],
)
def test_decode_gives_the_text_back(units: Units, text: str):
    vocabulary = fitted(units, [text, text])

    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode([1, *vocabulary.encode(text), 2, 3, 4]) == text
    assert vocabulary.decode([]) == ""


def test_decode_shows_unknown_symbols():
    assert fitted("word", ["a"]).decode([5, 0]) == "a <unk>"


@pytest.mark.parametrize("number", [-1, 6])
def test_decode_refuses_symbols_that_do_not_exist(number: int):
    with pytest.raises(ValueError, match=rf"a symbol must lie in 0 … 5, got {number}"):
        fitted("word", ["a"]).decode([number])


@pytest.mark.parametrize("units", ["word", "character", "subword"])
def test_state_survives_json(units: Units):
    vocabulary = fitted(units, ["the cat \U0001f600 ñandú", ["a b", "", "the"]])
    copy = TextVocabulary(units)
    copy.load_state(json.loads(json.dumps(vocabulary.state())))

    assert copy.symbols == vocabulary.symbols
    assert copy.alphabet == vocabulary.alphabet
    assert copy.encode("a cat ñ q") == vocabulary.encode("a cat ñ q")
    assert copy.state() == vocabulary.state()


def test_state_is_refused_when_units_differ():
    with pytest.raises(ValueError, match="state must be of units 'character', got 'word'"):
        TextVocabulary("character").load_state(fitted("word", ["a"]).state())


def test_vectors_fill_the_vocabulary_with_the_words_of_the_file(tmp_path: Path):
    path = tmp_path / "vectors.txt"
    path.write_text("cat 1 2\ndog 3 4\neel 5 6\n")
    vocabulary = fitted("word", ["a cat"], size=8, vectors_path=str(path))

    assert vocabulary.symbols == [*SPECIALS, "a", "cat", "dog"]
    assert vocabulary.vector_shape == (2, 6)  # the specials and "a" are missing
    assert vocabulary.vectors is not None
    assert vocabulary.vectors[6:].tolist() == [[1, 2], [3, 4]]
    assert bool(torch.isnan(vocabulary.vectors[:6]).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": "words"}, "units must be one of word, character, subword, got 'words'"),
        ({"units": "word", "size": 5}, "vocabulary_size must be at least 6 .*'word', got 5"),
        ({"units": "subword", "size": 260}, "vocabulary_size must be at least 261 .*, got 260"),
        ({"units": "word", "min_count": 0}, "min_count must be at least 1, got 0"),
        ({"units": "character", "vectors_path": "x"}, "units must be 'word' .*, got 'character'"),
    ],
)
def test_arguments_are_refused_when_they_break_a_rule(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        TextVocabulary(**settings)
