import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn.frontends.text_units import (
    choose_symbols,
    encode_subwords,
    keep_ends,
    list_subwords,
    read_sides,
    replace_surrogates,
    split_words,
    train_subwords,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n ", []),
        ("Don't stop, it’s 5.", ["Don't", "stop", ",", "it’s", "5", "."]),
        ("dogs' 'quoted'", ["dogs", "'", "'", "quoted", "'"]),
        ("a--b", ["a", "-", "-", "b"]),
        ("cafe\u0301 e\u0301te\u0301", ["cafe\u0301", "e\u0301te\u0301"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("שָׁלוֹם, עולם", ["שָׁלוֹם", ",", "עולם"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("中文。", ["中文", "。"]),
        ("x\x00y", ["x", "\x00", "y"]),
    ],
)
def test_words_are_runs_or_symbols(text: str, words: list[str]):
    assert split_words(text) == words


def test_emoji_sequences_and_flags_are_one_symbol():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    thumb, keycap = "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3"
    german, french = "\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"

    assert split_words(f"{family}{thumb} {german}{french}{keycap}") == [
        family,
        thumb,
        german,
        french,
        keycap,
    ]


@given(st.text())
def test_words_lose_nothing_but_white_space(text: str):
    assert "".join(split_words(text)) == "".join(text.split())


def test_sides_tell_strings_pairs_and_tokens_apart():
    assert read_sides("a b") == ["a b"]
    assert read_sides(["a", "b"]) == [["a", "b"]]
    assert read_sides(("a", "b")) == ["a", "b"]
    assert read_sides([]) == [[]]


@pytest.mark.parametrize(
    ("raw", "got"),
    [
        (3, "int 3"),
        (None, "NoneType"),
        ({"text": "a"}, "dict"),
        ([1, 2], "a list of 2 int"),
        (["a", 2], "a list of 2 int and str"),
        (("a",), "a tuple of 1 str"),
        (("a", "b", "c"), "a tuple of 3 str"),
        (b"a", "bytes"),
    ],
)
def test_sides_are_refused_when_kind_is_wrong(raw: object, got: str):
    with pytest.raises(TypeError, match=f"a text source must be a string, a list .*, got {got}"):
        read_sides(raw)


@pytest.mark.parametrize(
    ("limit", "kept"), [(9, "abcdefg"), (7, "abcdefg"), (4, "abfg"), (3, "abg"), (1, "a"), (0, "")]
)
def test_long_text_keeps_its_ends(limit: int, kept: str):
    assert keep_ends("abcdefg", limit) == kept


def test_symbols_come_by_count_then_code_point():
    counts = {"b": 2, "a": 2, "c": 5, "d": 1}

    assert choose_symbols(counts, 1, None) == ["c", "a", "b", "d"]
    assert choose_symbols(counts, 2, None) == ["c", "a", "b"]
    assert choose_symbols(counts, 1, 2) == ["c", "a"]


def test_subwords_merge_the_most_frequent_pair_first():
    tokenizer = train_subwords(["xyxyxy", "xy"], 257, 1)

    assert list_subwords(tokenizer)[256:] == ["xy"]
    assert encode_subwords(tokenizer, "xyxy") == [256, 256]


def test_subwords_do_not_merge_a_pair_seen_once():
    assert len(list_subwords(train_subwords(["xy"], 300, 1))) == 256


def test_subwords_are_the_same_when_trained_again():
    texts = ["the cat sat on the mat", "the dog sat", "ein Hund saß da \U0001f600"] * 3

    assert train_subwords(texts, 300, 1).to_str() == train_subwords(texts, 300, 1).to_str()


@given(st.text())
def test_subwords_lose_nothing(text: str):
    tokenizer = train_subwords(["ab ab"], 258, 1)

    assert tokenizer.decode(encode_subwords(tokenizer, text)) == replace_surrogates(text)


def test_lone_surrogates_become_the_replacement_character():
    assert replace_surrogates("a\ud800b") == "a\ufffdb"
    assert replace_surrogates("\ud83d\ude00") == "\U0001f600"


@pytest.mark.parametrize(("given_value", "kept"), [(None, "false"), ("true", "true")])
def test_training_switches_threads_off_unless_the_user_said_something(
    monkeypatch: pytest.MonkeyPatch, given_value: str | None, kept: str
):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    if given_value is not None:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", given_value)
    train_subwords(["a b"], 257, 1)

    assert os.environ["TOKENIZERS_PARALLELISM"] == kept
