"""Masks and lengths of symbols, which language models ask for."""

import pytest

from seqattn.frontends.text import TextFrontEnd
from seqattn.frontends.text_units import count_characters
from seqattn.frontends.text_vectorizer import TextVectorizer
from seqattn.frontends.text_vocabulary import Units


def fitted(units: Units) -> TextVectorizer:
    vectorizer = TextFrontEnd(units).vectorizer
    vectorizer.fit(["the cat sat", "naïve Ωmega"])
    return vectorizer


@pytest.mark.parametrize("units", ["word", "character", "subword"])
def test_mask_is_spelt_out_unless_it_is_read(units: Units) -> None:
    vectorizer = fitted(units)
    column = vectorizer.symbol_column
    spelt = vectorizer("the <mask> sat").values[:, column].tolist()
    assert vectorizer.mask_id not in spelt
    vectorizer.reads_masks = True
    read = vectorizer("the <mask> sat").values[:, column].tolist()
    assert read.count(vectorizer.mask_id) == 1
    assert vectorizer.length("the <mask> sat") == len(read) < len(spelt)


def test_mask_in_a_token_list_has_no_characters() -> None:
    vectorizer = fitted("word")
    vectorizer.reads_masks = True
    row = vectorizer(["the", "<mask>"]).values[1]
    assert row.tolist() == vectorizer.row(vectorizer.mask_id).tolist()


@pytest.mark.parametrize("units", ["character", "subword"])
@pytest.mark.parametrize("text", ["the cat", "naïve", "Ω", "日本 🎉", "étoile"])
def test_symbol_lengths_add_up_to_the_text(units: Units, text: str) -> None:
    vectorizer = fitted(units)
    ids = vectorizer(text).values[:, 0].tolist()
    assert sum(vectorizer.symbol_length(number) for number in ids) == len(text)


def test_special_symbols_have_no_length_when_they_are_not_unknown() -> None:
    vectorizer = fitted("character")
    assert vectorizer.symbol_length(0) == 1
    assert [vectorizer.symbol_length(number) for number in range(1, 5)] == [0, 0, 0, 0]


def test_count_characters_counts_the_bytes_that_begin_one() -> None:
    # Byte-level pieces write the bytes C3 AF of "ï" as the signs "Ã" and "¯".
    assert count_characters("naÃ¯ve") == 5
    assert count_characters("Ã") == 1
    assert count_characters("¯") == 0
