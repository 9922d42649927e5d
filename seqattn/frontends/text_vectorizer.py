"""Raw text to rows of ids: the layout between a text and :class:`TextFrontEnd`."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqattn.frontends.text_units import Side, keep_ends, read_sides
from seqattn.frontends.text_vocabulary import (
    BEGIN,
    END,
    MASK,
    SEPARATOR,
    SPECIALS,
    UNKNOWN,
    TextVocabulary,
)
from seqattn.vectorizer import Vectorized, Vectorizer

PAD = -1
"""Fills a row whose token has fewer characters or pieces than the row has columns. It lives
inside a row only: no position is padding."""

_CACHED_TOKENS = 1 << 16


class TextVectorizer(Vectorizer):
    """Turns a string, a pair of strings or a list of tokens into rows of ids, int64 (L, C).

    A list of tokens gives one row per token, whatever the units. A string gives one row per word
    (see :func:`~seqattn.frontends.text_units.split_words`), character (code point) or sub-word. A
    pair is joined by one separator row. The columns:

    - units 'word': the word, then `token_length` characters, numbered in the alphabet;
    - other units: the symbol, or `token_length` symbols where token lists were fitted;
    - last, where pairs were fitted: 1 in the second string, 0 elsewhere.

    A token longer than `token_length` keeps its first and last halves; a shorter one is filled up
    with :data:`PAD`. A token without any character is unknown.

    Args:
        vocabulary: numbers the symbols; fitted by :meth:`fit`.
        token_length: characters or pieces kept of each token.
        with_characters: whether a word's row holds its characters.
        begin: whether a begin row comes first.
        max_tokens: rows kept at most, begin and separator included; None for all. Of a pair the
            longer string is cut first.

    Raises:
        ValueError: if `token_length` is below 1 or `max_tokens` below 2.
    """

    symbol_column = 0
    begin_id, end_id, mask_id = BEGIN, END, MASK

    def __init__(
        self,
        vocabulary: TextVocabulary,
        *,
        token_length: int = 16,
        with_characters: bool = True,
        begin: bool = False,
        max_tokens: int | None = None,
    ) -> None:
        if token_length < 1:
            raise ValueError(f"token_length must be at least 1, got {token_length}")
        if max_tokens is not None and max_tokens < 2:
            raise ValueError(f"max_tokens must be at least 2, got {max_tokens}")
        self.vocabulary = vocabulary
        self.token_length = token_length
        self.with_characters = with_characters
        self.begin = begin
        self.max_tokens = max_tokens
        self.has_pairs = False
        self.has_tokens = False
        self._by_word = vocabulary.units == "word"
        self._cache: dict[str, bytes] = {}

    def fit(self, sources: Iterable[Any]) -> None:
        """Learn the vocabulary, and whether there are pairs and token lists.

        Raises:
            TypeError: if a source is of the wrong kind.
            ValueError: if there is no source.
            DataError: if the word-vector file breaks its format.
        """
        self.has_pairs = self.has_tokens = False
        self._cache = {}
        self.vocabulary.fit(self._read(sources))

    @property
    def is_fitted(self) -> bool:
        """Whether there is a vocabulary."""
        return bool(self.vocabulary.symbols)

    @property
    def symbols(self) -> list[str]:
        """The V symbols; a symbol's place is its id."""
        return self.vocabulary.symbols

    @property
    def reads_masks(self) -> bool:
        """Whether ``<mask>`` in a text is the mask symbol, and not just spelt so."""
        return self.vocabulary.reads_masks

    @reads_masks.setter
    def reads_masks(self, reads: bool) -> None:
        self.vocabulary.reads_masks = reads
        self._cache = {}

    @property
    def has_symbol_rows(self) -> bool:
        """Whether each row stands for one symbol; not so for token lists of smaller units."""
        return self._by_word or not self.has_tokens

    def symbol_length(self, symbol_id: int) -> int:
        """Return the characters that a symbol stands for.

        Raises:
            ValueError: if there is no such symbol.
        """
        return self.vocabulary.symbol_length(symbol_id)

    @property
    def inner_columns(self) -> int:
        """Number of columns before the one that tells the strings of a pair apart."""
        if self._by_word:
            return 1 + self.token_length * self.with_characters
        return self.token_length if self.has_tokens else 1

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        """Return the rows of one source. `draw` changes nothing: text is not augmented here.

        Raises:
            TypeError: if the source is of the wrong kind.
            ValueError: if it is a pair or a token list and the training sources held none.
        """
        sides = [self._rows(side) for side in self._sides(raw)]
        kept = self._cut([len(rows) for rows in sides])
        parts = [rows[:count] for rows, count in zip(sides, kept, strict=True)]
        if len(parts) == 2:
            parts.insert(1, self._symbol_row(SEPARATOR)[None])
        if self.begin:
            parts.insert(0, self._symbol_row(BEGIN)[None])
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.has_pairs:
            values = F.pad(values, (0, 1))
            values[len(values) - sum(kept[1:]) :, -1] = 1
        return Vectorized(values)

    def empty(self) -> Tensor:
        """Return no rows. Shape: (0, C)."""
        return torch.empty(0, self.inner_columns + self.has_pairs, dtype=torch.int64)

    def length(self, raw: Any) -> int:
        """Return L. It raises what vectorizing raises."""
        kept = self._cut([self._count(side) for side in self._sides(raw)])
        return sum(kept) + len(kept) - 1 + self.begin

    def characters(self, raw: Any) -> int:
        """Return the number of characters (code points) of a source, before any cut.

        Raises:
            TypeError: if the source is of the wrong kind.
        """
        return sum(len(text) for side in read_sides(raw) for text in side)

    def row(self, symbol_id: int) -> Tensor:
        """Return the row of one symbol in a single string. Shape: (C,).

        Raises:
            ValueError: if there is no such symbol.
        """
        self.vocabulary.require(symbol_id)
        inner = self._symbol_row(symbol_id)
        return F.pad(inner, (0, 1)) if self.has_pairs else inner

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of symbols; unknown reads ``<unk>``, other special symbols nothing.

        Raises:
            ValueError: if there is no such symbol.
        """
        return self.vocabulary.decode(ids)

    def state(self) -> dict[str, Any]:
        """Return vocabulary and layout."""
        layout = {"has_pairs": self.has_pairs, "has_tokens": self.has_tokens}
        return {**self.vocabulary.state(), **layout}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave. Its own state keeps the word vectors that fitting read.

        Raises:
            ValueError: if it is the state of other units.
        """
        if self.is_fitted and state == self.state():
            return
        self.vocabulary.load_state(state)
        self.has_pairs, self.has_tokens = state["has_pairs"], state["has_tokens"]
        self._cache = {}

    def adopt(self, state: dict[str, Any], sources: Iterable[Any]) -> None:
        """Take the vocabulary of a state, and learn whether there are pairs and token lists.

        Raises:
            TypeError: if a source is of the wrong kind.
            ValueError: if it is the state of other units, or there is no source.
        """
        self.load_state(state)
        self.has_pairs = self.has_tokens = False
        self._cache = {}
        deque(self._read(sources), maxlen=0)

    def has_vocabulary_of(self, state: dict[str, Any]) -> bool:
        """Return whether that state has the same symbols, whatever its layout."""
        return all(state.get(name) == value for name, value in self.vocabulary.state().items())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache at home when sent to a loader's worker."""
        return {**self.__dict__, "_cache": {}}

    def _read(self, sources: Iterable[Any]) -> Iterator[Side]:
        """Yield every string and token list, and note which kinds there are."""
        found = False
        for raw in sources:
            found = True
            sides = read_sides(raw)
            self.has_pairs |= len(sides) == 2
            self.has_tokens |= isinstance(raw, list)
            yield from sides
        if not found:
            raise ValueError("sources must hold at least one training text, got none")

    def _sides(self, raw: Any) -> list[Side]:
        if not self.is_fitted:
            raise RuntimeError("the vectorizer must be fitted, or given a state, before it is used")
        sides = read_sides(raw)
        if len(sides) == 2 and not self.has_pairs:
            raise ValueError("a pair needs training sources with pairs, got single texts only")
        if isinstance(raw, list) and not (self.has_tokens or self._by_word):
            raise ValueError("a token list needs training sources with token lists, got strings")
        return sides

    def _cut(self, lengths: list[int]) -> list[int]:
        """Return how many rows of each string stay; of a pair the longer loses first."""
        if self.max_tokens is None:
            return lengths
        room = self.max_tokens - self.begin - (len(lengths) - 1)
        if len(lengths) == 1:
            return [min(lengths[0], room)]
        first, second = lengths
        first = min(first, max(room - second, room - room // 2))
        return [first, min(second, room - first)]

    def _count(self, side: Side) -> int:
        if isinstance(side, str):
            vocabulary = self.vocabulary
            return len(vocabulary.words(side) if self._by_word else vocabulary.encode(side))
        return len(side)

    def _rows(self, side: Side) -> Tensor:
        """Return the rows of a string or token list. Shape: (L, inner columns)."""
        if isinstance(side, str) and not self._by_word:
            ids = torch.tensor(self.vocabulary.encode(side), dtype=torch.int64)
            return F.pad(ids[:, None], (0, self.inner_columns - 1), value=PAD)
        tokens = self.vocabulary.words(side) if isinstance(side, str) else side
        if not tokens:
            return torch.empty(0, self.inner_columns, dtype=torch.int64)
        joined = bytearray().join(map(self._token_bytes, tokens))
        return torch.frombuffer(joined, dtype=torch.int64).view(len(tokens), -1)

    def _token_bytes(self, token: str) -> bytes:
        """Return the row of a token as bytes, which are joined faster than numbers."""
        known = self._cache.get(token)
        if known is None:
            known = array("q", self._fill(self._token_ids(token))).tobytes()
            if len(self._cache) < _CACHED_TOKENS:
                self._cache[token] = known
        return known

    def _token_ids(self, token: str) -> list[int]:
        if self._by_word:
            symbol = self.vocabulary.encode_word(token)
            return [symbol, *(self._character_ids(token) if symbol != MASK else ())]
        return keep_ends(self.vocabulary.encode(token), self.token_length) or [UNKNOWN]

    def _character_ids(self, word: str) -> list[int]:
        if not self.with_characters:
            return []
        return self.vocabulary.encode_characters(keep_ends(word, self.token_length))

    def _symbol_row(self, symbol_id: int) -> Tensor:
        """Return the row of a symbol; a special one has no characters. Shape: (inner columns,)."""
        ids = [symbol_id]
        if self._by_word and symbol_id >= len(SPECIALS):
            ids += self._character_ids(self.symbols[symbol_id])
        return torch.tensor(self._fill(ids), dtype=torch.int64)

    def _fill(self, ids: list[int]) -> list[int]:
        return ids + [PAD] * (self.inner_columns - len(ids))
