"""Raw text to symbols: kinds of source, words of a string, vocabularies, byte-level sub-words."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Side = str | list[str]
"""A string, or the tokens that someone else made of one."""

Items = TypeVar("Items", str, list[int])

BYTES = 256
"""Sub-words start from the 256 bytes, so that no text is ever lost."""

# Joiners, emoji modifiers and tags that belong to the character before them, as marks do.
_JOINERS = "\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"


def read_sides(raw: Any) -> list[Side]:
    """Return the two strings of a pair, or the one string or token list.

    Raises:
        TypeError: if `raw` is neither a str, nor a list of str, nor a tuple of two str.
    """
    if isinstance(raw, str):
        return [raw]
    if isinstance(raw, list) and all(isinstance(token, str) for token in raw):
        return [raw]
    if isinstance(raw, tuple) and len(raw) == 2 and all(isinstance(text, str) for text in raw):
        return list(raw)
    raise TypeError(
        "a text source must be a string, a list of tokens (list of str) or a pair of strings "
        f"(tuple of two str), got {_describe(raw)}"
    )


def _describe(raw: Any) -> str:
    if not isinstance(raw, list | tuple):
        return f"{type(raw).__name__} {raw!r:.60}"
    kinds = sorted({type(item).__name__ for item in raw})
    return f"a {type(raw).__name__} of {len(raw)} {' and '.join(kinds)}"


def split_words(text: str) -> list[str]:
    """Return the words of a string: runs of word characters, or one symbol.

    A word is a run of letters, digits and underscores with their combining marks and joiners;
    an apostrophe between two such runs stays inside (``don't``). Any other character that is not
    white space is a word of its own, an emoji sequence or a flag being one character. Scripts
    without spaces give long words: use units 'character' or 'subword' there.
    """
    return _word_pattern().findall(text)


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    """Return the pattern of :func:`split_words`; re has no class for Unicode's marks."""
    codes = range(0x300, 0x20000)  # every mark but the variation selectors among _JOINERS
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    more = re.escape(marks) + _JOINERS
    run = rf"\w[\w{more}]*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    symbol = rf"\S[{more}]*(?:(?<=\u200d)[^\w\s][{more}]*)*"
    return re.compile(rf"{run}(?:['’]{run})*|{flag}|{symbol}")


def keep_ends(items: Items, limit: int) -> Items:
    """Return at most `limit` items: the first and the last halves where there are more."""
    if len(items) <= limit:
        return items
    tail = limit // 2
    return items[: limit - tail] + items[len(items) - tail :]


def choose_symbols(counts: Mapping[str, int], min_count: int, limit: int | None) -> list[str]:
    """Return the symbols seen often enough, the most frequent first, equals by code point.

    Args:
        counts: how often each symbol was seen.
        min_count: a symbol seen less often is left out.
        limit: how many symbols to keep at most; None for all.
    """
    kept = [symbol for symbol, count in counts.items() if count >= min_count]
    return sorted(kept, key=lambda symbol: (-counts[symbol], symbol))[:limit]


def train_subwords(texts: Iterable[str], size: int, min_count: int) -> Tokenizer:
    """Return byte-level byte-pair encoding (Sennrich et al., 2016) trained on texts.

    It is the same for the same texts. Multi-threaded tokenizing is switched off afterwards, unless
    the environment says something else, since it does not survive the fork of a loader's worker.

    Args:
        texts: the training texts.
        size: number of pieces at most, the 256 bytes included.
        min_count: a pair seen less often is not merged, and never one that is seen only once.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=max(2, min_count),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(replace_surrogates, texts), trainer)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return tokenizer


def encode_subwords(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the pieces of a text, numbered from 0 by the tokenizer."""
    ids: list[int] = tokenizer.encode(replace_surrogates(text)).ids
    return ids


def list_subwords(tokenizer: Tokenizer) -> list[str]:
    """Return the pieces in the order of their numbers, as the tokenizer writes them."""
    numbers = tokenizer.get_vocab()
    return sorted(numbers, key=lambda piece: numbers[piece])


def count_characters(piece: str) -> int:
    """Return how many characters begin in a piece: its bytes that continue none in UTF-8."""
    numbers = _byte_numbers()
    return sum(numbers[sign] & 0xC0 != 0x80 for sign in piece)


@functools.cache
def _byte_numbers() -> dict[str, int]:
    """Return the byte that each sign of byte-level pieces stands for (as in GPT-2's code)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(BYTES) if byte not in shown]
    signs = [chr(byte) for byte in shown] + [chr(BYTES + i) for i in range(len(hidden))]
    return dict(zip(signs, [*shown, *hidden], strict=True))


def replace_surrogates(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates become U+FFFD, pairs their character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
