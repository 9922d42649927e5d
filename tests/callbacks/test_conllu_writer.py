import pytest

from seqattn import TextFrontEnd
from seqattn.batch import Example
from seqattn.callbacks.conllu_writer import conllu_block, words_of
from seqattn.errors import DataError
from seqattn.vectorizer import Vectorizer


def fitted(units: str, *, max_tokens: int | None = None) -> Vectorizer:
    vectorizer = TextFrontEnd(units=units, max_tokens=max_tokens).vectorizer  # type: ignore[arg-type]
    vectorizer.fit(["don't go, dog", ["go"]])
    return vectorizer


def test_a_sentence_of_conllu_has_ten_columns() -> None:
    block = conllu_block("s1", ["New York", "sleeps"], ["PROPN", "VERB"])
    assert block == (
        "# sent_id = s1\n# text = New York sleeps\n"
        "1\tNew York\t_\tPROPN\t_\t_\t_\t_\t_\t_\n"
        "2\tsleeps\t_\tVERB\t_\t_\t_\t_\t_\t_\n\n"
    )


def test_what_would_end_a_column_becomes_a_space() -> None:
    rows = conllu_block("a\nb", ["x\ty", "u\u2028v", ""], ["A", "B", "C"]).splitlines()
    assert rows[:2] == ["# sent_id = a b", "# text = x y u v _"]
    assert [row.split("\t")[1] for row in rows[2:5]] == ["x y", "u v", "_"]


@pytest.mark.parametrize("tags", [["X"], {"label": "y"}, "ab"])
def test_conllu_needs_one_tag_per_token(tags: object) -> None:
    with pytest.raises(DataError, match="format=conllu needs one label per token"):
        conllu_block("s", ["a", "b"], tags)  # type: ignore[arg-type]


def test_a_string_is_cut_as_the_front_end_cuts_it() -> None:
    words = words_of(Example("don't go, dog", key="s"), fitted("word"))
    assert words == ["don't", "go", ",", "dog"]


@pytest.mark.parametrize("units", ["character", "subword"])
def test_positions_that_are_no_words_are_refused(units: str) -> None:
    rule = "'s': format=conllu needs token lists, or strings in units 'word', got str"
    with pytest.raises(DataError, match=rule):
        words_of(Example("don't go", key="s"), fitted(units))


def test_a_shortened_source_is_refused() -> None:
    with pytest.raises(DataError, match="one position per token, got 4 tokens in 2 positions"):
        words_of(Example("don't go, dog", key="s"), fitted("word", max_tokens=2))
