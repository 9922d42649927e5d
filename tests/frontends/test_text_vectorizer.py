import json
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqattn.frontends.text_vectorizer import PAD, TextVectorizer
from seqattn.frontends.text_vocabulary import BEGIN, SEPARATOR, UNKNOWN, TextVocabulary, Units

UNITS: list[Units] = ["word", "character", "subword"]
MIXED = ["the cat sat", ["a", "b c"], ("the cat", "a")]


def fitted(units: Units, sources: list[Any], **settings: Any) -> TextVectorizer:
    vectorizer = TextVectorizer(TextVocabulary(units), **settings)
    vectorizer.fit(sources)
    return vectorizer


def rows(vectorizer: TextVectorizer, raw: Any) -> list[list[int]]:
    return vectorizer(raw).values.tolist()


def test_word_row_holds_word_and_characters():
    vectorizer = fitted("word", ["ab b"], token_length=3)  # words: ab 5, b 6; b 1, a 2

    assert rows(vectorizer, "b ab c") == [[6, 1, PAD, PAD], [5, 2, 1, PAD], [UNKNOWN, 0, PAD, PAD]]


def test_word_row_keeps_both_ends_when_the_word_is_long():
    vectorizer = fitted("word", ["abcd"], token_length=3)  # a 1, b 2, c 3, d 4

    assert rows(vectorizer, "abcd") == [[5, 1, 2, 4]]


def test_word_row_is_the_word_alone_without_characters():
    vectorizer = fitted("word", ["ab b"], with_characters=False)

    assert rows(vectorizer, "b ab") == [[6], [5]]
    assert vectorizer.empty().shape == (0, 1)


def test_character_row_is_one_symbol_when_only_strings_were_fitted():
    vectorizer = fitted("character", ["aab"])

    assert rows(vectorizer, "bax") == [[6], [5], [UNKNOWN]]


def test_character_row_holds_a_token_when_token_lists_were_fitted():
    vectorizer = fitted("character", [["aab", "b c"]], token_length=3)  # a 5, b 6, " " 7, c 8

    assert rows(vectorizer, ["b c", "abca", ""]) == [[6, 7, 8], [5, 6, 5], [UNKNOWN, PAD, PAD]]
    assert rows(vectorizer, "ab") == [[5, PAD, PAD], [6, PAD, PAD]]


def test_subword_row_holds_a_tokens_pieces():
    vectorizer = fitted("subword", [["xyxy", "xy"]], token_length=3)
    x, y = (vectorizer.symbols.index(piece) for piece in "xy")
    merged = vectorizer.symbols.index("xyxy") if "xyxy" in vectorizer.symbols else None
    xy = vectorizer.symbols.index("xy")

    assert merged is None  # seen once
    assert rows(vectorizer, ["xyxy", "yx", ""]) == [[xy, xy, PAD], [y, x, PAD], [0, PAD, PAD]]


def test_pair_is_joined_and_its_sides_are_told_apart():
    vectorizer = fitted("character", [("ab", "a")], begin=True)  # a 5, b 6

    assert rows(vectorizer, ("ab", "b")) == [[BEGIN, 0], [5, 0], [6, 0], [SEPARATOR, 0], [6, 1]]
    assert rows(vectorizer, "b") == [[BEGIN, 0], [6, 0]]
    assert rows(vectorizer, ("", "")) == [[BEGIN, 0], [SEPARATOR, 0]]


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    "tokens", [["a b", "", "  ", "\U0001f600", "שָׁלוֹם", "e\u0301", "\ud800"], []]
)
def test_token_list_gives_one_row_per_token(units: Units, tokens: list[str]):
    vectorizer = fitted(units, MIXED)

    assert len(vectorizer(tokens).values) == len(tokens) == vectorizer.length(tokens)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    "text",
    ["", " ", "\U0001f468\u200d\U0001f469", "שלום עולם", "e\u0301a\u0301", "qqq zzz", "\ud800"],
)
def test_any_string_gives_rows_of_the_fitted_layout(units: Units, text: str):
    vectorizer = fitted(units, MIXED)
    values = vectorizer(text).values

    assert values.dtype == torch.int64
    assert values.shape == (vectorizer.length(text), vectorizer.empty().shape[1])
    assert int(values.amax()) < len(vectorizer.symbols) if len(values) else True


@pytest.mark.parametrize("units", UNITS)
def test_very_long_string_gives_rows(units: Units):
    vectorizer = fitted(units, MIXED)
    text = "the cat \U0001f600 " * 10_000  # 10^5 characters

    assert vectorizer.characters(text) == 100_000
    assert len(vectorizer(text).values) == vectorizer.length(text)
    assert len(vectorizer("x" * 100_000).values) == vectorizer.length("x" * 100_000)


@settings(max_examples=50)
@given(
    st.one_of(st.text(), st.lists(st.text()), st.tuples(st.text(), st.text())),
    st.sampled_from(UNITS),
    st.booleans(),
    st.one_of(st.none(), st.integers(2, 6)),
)
def test_length_is_the_number_of_rows(raw: Any, units: Units, begin: bool, limit: int | None):
    vectorizer = fitted(units, MIXED, begin=begin, max_tokens=limit)
    length = vectorizer.length(raw)

    assert length == len(vectorizer(raw).values)
    assert limit is None or length <= limit


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("abcdefgh", "abcdef"),
        (("abcdefgh", "xy"), "abc|xy"),
        (("xy", "abcdefgh"), "xy|abc"),
        (("abcdefgh", "stuvwx"), "abc|st"),
    ],
)
def test_longer_string_is_cut_first_when_there_are_too_many_rows(raw: Any, kept: str):
    vectorizer = fitted("character", ["abcdefghstuvwxy", ("a", "b")], max_tokens=6)
    ids = vectorizer(raw).values[:, 0].tolist()

    assert "".join("|" if i == SEPARATOR else vectorizer.symbols[i] for i in ids) == kept


@pytest.mark.parametrize("units", UNITS)
def test_row_of_a_symbol_equals_its_row_in_a_text(units: Units):
    vectorizer = fitted(units, MIXED, begin=True)
    values = vectorizer("the cat").values

    for row in values:
        assert torch.equal(vectorizer.row(int(row[vectorizer.symbol_column])), row)


def test_row_is_refused_when_there_is_no_such_symbol():
    with pytest.raises(ValueError, match=r"a symbol must lie in 0 … 5, got 6"):
        fitted("word", ["a"]).row(6)


@pytest.mark.parametrize("units", UNITS)
def test_symbols_of_a_text_decode_to_it(units: Units):
    vectorizer = fitted(units, ["the cat sat"], begin=True)
    ids = vectorizer("the cat sat").values[:, vectorizer.symbol_column].tolist()

    assert vectorizer.decode([*ids, vectorizer.end_id]) == "the cat sat"


def test_special_symbols_have_their_places():
    vectorizer = fitted("word", ["a"])
    ids = (0, vectorizer.begin_id, vectorizer.end_id, vectorizer.mask_id)

    assert [vectorizer.symbols[i] for i in ids] == ["<unk>", "<begin>", "<end>", "<mask>"]


def test_characters_are_those_of_the_raw_source():
    vectorizer = fitted("word", MIXED, max_tokens=2)

    assert vectorizer.characters("a b\U0001f600") == 4
    assert vectorizer.characters(("ab", "c")) == 3
    assert vectorizer.characters(["ab", "", "c d"]) == 5


@pytest.mark.parametrize("units", UNITS)
def test_state_survives_json_and_pickle(units: Units):
    vectorizer = fitted(units, MIXED, begin=True)
    copy = TextVectorizer(TextVocabulary(units), begin=True)
    copy.load_state(json.loads(json.dumps(vectorizer.state())))

    for other in (copy, pickle.loads(pickle.dumps(vectorizer))):
        assert other.is_fitted
        assert other.state() == vectorizer.state()
        for raw in ("the ñ cat", ["the", "x y"], ("a", "b")):
            assert torch.equal(other(raw).values, vectorizer(raw).values)


def test_rows_follow_the_vocabulary_when_fitted_again():
    vectorizer = fitted("word", ["b b a"])
    vectorizer(["a"])
    vectorizer.fit(["a"])

    assert rows(vectorizer, ["a"])[0][0] == 5


def test_rows_may_be_changed_without_touching_later_ones():
    vectorizer = fitted("word", ["a"])
    first = vectorizer("a").values.clone()
    vectorizer("a").values.zero_()

    assert torch.equal(vectorizer("a").values, first)


@pytest.mark.parametrize("raw", [3, [1, 2], {"text": "a"}, ("a", ["b"])])
def test_source_is_refused_when_its_kind_is_wrong(raw: Any):
    vectorizer = fitted("word", MIXED)

    for use in (
        vectorizer,
        vectorizer.length,
        vectorizer.characters,
        lambda r: vectorizer.fit([r]),
    ):
        with pytest.raises(TypeError, match="a text source must be a string, a list of tokens"):
            use(raw)


def test_fit_is_refused_without_sources():
    with pytest.raises(ValueError, match="sources must hold at least one training text, got none"):
        fitted("word", [])


def test_pair_and_token_list_are_refused_when_fitting_saw_none():
    vectorizer = fitted("character", ["ab"])

    with pytest.raises(ValueError, match="a pair needs training sources with pairs"):
        vectorizer(("a", "b"))
    with pytest.raises(ValueError, match="a token list needs training sources with token lists"):
        vectorizer.length(["a"])


def test_use_is_refused_before_fitting():
    vectorizer = TextVectorizer(TextVocabulary("word"))

    assert not vectorizer.is_fitted
    with pytest.raises(RuntimeError, match="the vectorizer must be fitted"):
        vectorizer("a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_length": 0}, "token_length must be at least 1, got 0"),
        ({"max_tokens": 1}, "max_tokens must be at least 2, got 1"),
    ],
)
def test_arguments_are_refused_when_they_break_a_rule(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        TextVectorizer(TextVocabulary("word"), **settings)


@pytest.mark.parametrize("units", ["word", "character"])
def test_adopting_takes_the_vocabulary_and_learns_the_layout(units: Any) -> None:
    lines = TextVectorizer(TextVocabulary(units), begin=True)
    lines.fit(["a b", "b c"])
    lists = TextVectorizer(TextVocabulary(units))
    lists.adopt(lines.state(), [["b", "z"], ["a"]])
    pairs = TextVectorizer(TextVocabulary(units))
    pairs.adopt(lines.state(), [("a", "z")])
    assert lines.symbols == lists.symbols == pairs.symbols
    assert (lists.has_tokens, lists.has_pairs) == (True, False)
    assert (pairs.has_tokens, pairs.has_pairs) == (False, True)
    assert len(lists(["b", "z"]).values) == 2
    assert lists.has_vocabulary_of(lines.state())
    other = TextVectorizer(TextVocabulary(units))
    other.fit(["x y"])
    assert not other.has_vocabulary_of(lines.state())
