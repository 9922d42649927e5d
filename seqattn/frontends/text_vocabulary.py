"""The symbols of a text front-end: words, characters or byte-level sub-words, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from tokenizers import Tokenizer
from torch import Tensor

from seqattn.frontends.text_units import (
    BYTES,
    Side,
    choose_symbols,
    count_characters,
    encode_subwords,
    list_subwords,
    split_words,
    train_subwords,
)
from seqattn.frontends.word_vectors import read_word_vectors

Units = Literal["word", "character", "subword"]

SPECIALS = ("<unk>", "<begin>", "<end>", "<mask>", "<sep>")
"""Symbols 0 … 4 of every vocabulary. No text becomes one of them but unknown, not even a text
that spells it."""

UNKNOWN, BEGIN, END, MASK, SEPARATOR = range(len(SPECIALS))

_SIZES: dict[str, int | None] = {"word": 30_000, "subword": 8_000, "character": None}


class TextVocabulary:
    """Numbers the symbols that training texts hold; the most frequent first, equals by code point.

    Args:
        units: what a symbol is.
        size: most symbols, the five special ones included; None for 30,000 words, 8,000 sub-words
            or all characters.
        min_count: symbols (of sub-words: pairs to merge) seen less often are left out.
        lowercase: whether text is lower-cased first; a word's characters keep their case.
        vectors_path: word-vector file. Its vectors are kept in :attr:`vectors`, and further words
            of it, in its order, fill the vocabulary up to `size`. None for none.

    Raises:
        ValueError: if an argument breaks a rule.
    """

    def __init__(
        self,
        units: Units,
        *,
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        vectors_path: str | None = None,
    ) -> None:
        _check_units(units, vectors_path)
        _check_counts(units, size, min_count)
        self.units = units
        self.size = _SIZES[units] if size is None else size
        self.min_count = min_count
        self.lowercase = lowercase
        self.vectors_path = vectors_path
        self.reads_masks = False
        self.symbols: list[str] = []
        self.alphabet: list[str] = [SPECIALS[UNKNOWN]]
        self.vector_shape = (0, 0)
        self.vectors: Tensor | None = None
        self._tokenizer: Tokenizer | None = None
        self._numbers: dict[str, int] = {}
        self._characters: dict[str, int] = {}

    def fit(self, sides: Iterable[Side]) -> None:
        """Learn the symbols of strings and of token lists.

        Raises:
            DataError: if the word-vector file breaks its format.
        """
        if self.units == "subword":
            self._fit_subwords(sides)
        elif self.units == "character":
            counts = Counter[str]()
            for side in sides:
                counts.update(self._fold("".join(side)))
            self._set_symbols(choose_symbols(counts, self.min_count, self._room))
        else:
            self._fit_words(sides)

    def encode(self, text: str) -> list[int]:
        """Return the symbols of a string, without special ones but the mask where it is read."""
        if self.units == "word":
            return [self.encode_word(word) for word in self.words(text)]
        parts = [self._encode_part(part) for part in self._between_masks(text)]
        return [number for part in parts for number in (MASK, *part)][1:]

    def words(self, text: str) -> list[str]:
        """Return the words of a string; a mask stays whole where it is read."""
        parts = [split_words(part) for part in self._between_masks(text)]
        return [word for part in parts for word in (SPECIALS[MASK], *part)][1:]

    def encode_word(self, word: str) -> int:
        """Return the symbol of a word, for units 'word'."""
        if self.reads_masks and word == SPECIALS[MASK]:
            return MASK
        return self._numbers.get(self._fold(word), UNKNOWN)

    def _between_masks(self, text: str) -> list[str]:
        return text.split(SPECIALS[MASK]) if self.reads_masks else [text]

    def _encode_part(self, text: str) -> list[int]:
        folded = self._fold(text)
        if self._tokenizer is None:
            return [self._numbers.get(character, UNKNOWN) for character in folded]
        return [number + len(SPECIALS) for number in encode_subwords(self._tokenizer, folded)]

    def symbol_length(self, number: int) -> int:
        """Return the characters that a symbol stands for; unknown counts one, other specials none.

        A sub-word's are those that begin in it: a piece may hold part of a character's bytes.

        Raises:
            ValueError: if there is no such symbol.
        """
        self.require(number)
        if number < len(SPECIALS):
            return int(number == UNKNOWN)
        symbol = self.symbols[number]
        return count_characters(symbol) if self._tokenizer is not None else len(symbol)

    def encode_characters(self, word: str) -> list[int]:
        """Return the numbers in :attr:`alphabet` of a word's characters, for units 'word'."""
        return [self._characters.get(character, 0) for character in word]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of symbols; unknown reads ``<unk>``, other special symbols nothing.

        Raises:
            ValueError: if there is no such symbol.
        """
        for number in ids:
            self.require(number)
        if self._tokenizer is not None:
            pieces = [number - len(SPECIALS) for number in ids if number >= len(SPECIALS)]
            text: str = self._tokenizer.decode(pieces)
            return text
        kept = [self.symbols[i] for i in ids if i == UNKNOWN or i >= len(SPECIALS)]
        return (" " if self.units == "word" else "").join(kept)

    def require(self, number: int) -> None:
        """Check that a symbol of that number exists.

        Raises:
            ValueError: if not.
        """
        if not 0 <= number < len(self.symbols):
            raise ValueError(f"a symbol must lie in 0 … {len(self.symbols) - 1}, got {number}")

    def state(self) -> dict[str, Any]:
        """Return what was fitted as plain data; of word vectors their shape only."""
        subwords = None if self._tokenizer is None else self._tokenizer.to_str()
        return {
            "units": self.units,
            "symbols": self.symbols if subwords is None else None,
            "alphabet": self.alphabet,
            "subwords": subwords,
            "vector_shape": list(self.vector_shape),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave.

        Raises:
            ValueError: if it is the state of other units.
        """
        if state["units"] != self.units:
            raise ValueError(f"state must be of units {self.units!r}, got {state['units']!r}")
        if state["subwords"] is not None:
            self._set_tokenizer(Tokenizer.from_str(state["subwords"]))
        else:
            self._set_symbols(state["symbols"][len(SPECIALS) :], state["alphabet"][1:])
        dim, missing = state["vector_shape"]
        self.vector_shape = (dim, missing)
        self.vectors = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the word vectors at home when sent to a loader's worker."""
        return {**self.__dict__, "vectors": None}

    @property
    def _room(self) -> int | None:
        return None if self.size is None else self.size - len(SPECIALS)

    def _fold(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _fit_words(self, sides: Iterable[Side]) -> None:
        words = Counter[str]()
        for side in sides:
            words.update(split_words(side) if isinstance(side, str) else side)
        folded, characters = Counter[str](), Counter[str]()
        for word, count in words.items():
            folded[self._fold(word)] += count
            for character in word:
                characters[character] += count
        chosen = choose_symbols(folded, self.min_count, self._room)
        alphabet = choose_symbols(characters, self.min_count, None)
        if self.vectors_path is not None:
            chosen = self._fit_vectors(self.vectors_path, chosen)
        self._set_symbols(chosen, alphabet)

    def _fit_subwords(self, sides: Iterable[Side]) -> None:
        texts = (
            self._fold(text)
            for side in sides
            for text in ([side] if isinstance(side, str) else side)
        )
        assert self._room is not None
        self._set_tokenizer(train_subwords(texts, self._room, self.min_count))

    def _fit_vectors(self, path: str, words: list[str]) -> list[str]:
        """Keep the vectors of words, and return them with the file's further words."""
        room = 0 if self._room is None else self._room - len(words)
        found = read_word_vectors(path, words, room)
        known = set(words)
        more = (word for word in found if word not in known and word == self._fold(word))
        symbols = [*words, *more]
        dim = len(next(iter(found.values())))
        vectors = torch.full((len(SPECIALS) + len(symbols), dim), float("nan"))
        for number, word in enumerate(symbols, start=len(SPECIALS)):
            if word in found:
                vectors[number] = torch.from_numpy(found[word])
        self.vectors = vectors
        self.vector_shape = (dim, int(vectors[:, 0].isnan().sum()))
        return symbols

    def _set_symbols(self, symbols: Sequence[str], alphabet: Sequence[str] = ()) -> None:
        self._tokenizer = None
        self.symbols = [*SPECIALS, *symbols]
        self.alphabet = [SPECIALS[UNKNOWN], *alphabet]
        self._numbers = {word: i for i, word in enumerate(symbols, start=len(SPECIALS))}
        self._characters = {character: i for i, character in enumerate(alphabet, start=1)}

    def _set_tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.symbols = [*SPECIALS, *list_subwords(tokenizer)]


def _check_units(units: str, vectors_path: str | None) -> None:
    if units not in get_args(Units):
        raise ValueError(f"units must be one of {', '.join(get_args(Units))}, got {units!r}")
    if vectors_path is not None and units != "word":
        raise ValueError(f"units must be 'word' for word vectors, got {units!r}")


def _check_counts(units: str, size: int | None, min_count: int) -> None:
    smallest = len(SPECIALS) + (BYTES if units == "subword" else 1)
    if size is not None and size < smallest:
        raise ValueError(
            f"vocabulary_size must be at least {smallest} for units {units!r}, got {size}"
        )
    if min_count < 1:
        raise ValueError(f"min_count must be at least 1, got {min_count}")
