"""Targets that are sequences: raw strings or token lists to symbols, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from seqattn.batch import SequenceBatch
from seqattn.frontends.text_units import Side, split_words
from seqattn.frontends.text_vocabulary import BEGIN, END, SPECIALS, UNKNOWN, TextVocabulary
from seqattn.heads.targets import Unseen
from seqattn.layers.slots import require_choice
from seqattn.vectorizer import TargetVectorizer, Vectorized

TargetUnits = Literal["word", "token", "character", "subword"]

UNSEEN = -1
"""The id of a symbol that training never had."""

UNSEEN_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""How it reads."""


class TargetSequenceVectorizer(TargetVectorizer):
    """Turns a string or a list of tokens into symbols, without BEGIN and END, and back.

    A symbol's id is its place in :attr:`labels`; the first five are special (unknown, BEGIN, END
    and two that a decoder has no use for).

    Args:
        units: what a symbol is. A ``word`` of a string is what :func:`split_words` says, and a
            ``token`` what white space surrounds; of a list both are its items. Strings only are
            split into a ``character`` or ``subword`` each.
        vocabulary_size: most symbols, the special ones included; None for 30,000 words or tokens,
            8,000 sub-words or all characters.
        min_count: symbols seen less often in training are unseen ones.
        lowercase: whether targets are lower-cased.
        one_boundary: whether BEGIN and END are one symbol.
        unseen: what a symbol does that training never had: it counts as ``wrong`` (its id is -1),
            or it is an ``error``.
        max_symbols: of one target, BEGIN or END included; None for any number.

    Raises:
        ValueError: if an argument breaks a rule.
    """

    def __init__(
        self,
        units: TargetUnits = "word",
        *,
        vocabulary_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        one_boundary: bool = False,
        unseen: Unseen = "wrong",
        max_symbols: int | None = None,
    ) -> None:
        require_choice("target_units", units, get_args(TargetUnits))
        require_choice("unseen_labels", unseen, get_args(Unseen))
        self.vocabulary = TextVocabulary(
            "word" if units == "token" else units,
            size=vocabulary_size,
            min_count=min_count,
            lowercase=lowercase,
        )
        self.units: TargetUnits = units
        self.unseen: Unseen = unseen
        self.max_symbols = max_symbols
        self.begin_id = END if one_boundary else BEGIN
        self.end_id = END
        self.gives_tokens = False
        """Whether the training targets were lists of tokens, as what is decoded then is."""

    @property
    def labels(self) -> list[str]:
        """The V symbols, special ones included."""
        return self.vocabulary.symbols

    @property
    def banned(self) -> list[int]:
        """The special symbols, which are never written; not END."""
        return [number for number in range(len(SPECIALS)) if number != self.end_id]

    def fit(self, targets: Iterable[Any]) -> None:
        """Learn the symbols, and whether targets are token lists.

        Raises:
            TypeError: if a target is neither a string nor a list of tokens.
            ValueError: if there is no target, or some are strings and some lists.
        """
        sides, lists = [], 0
        for target in targets:
            if target is not None:
                sides.append(self._split(target))
                lists += isinstance(target, list)
        if not sides:
            raise ValueError("the training examples must have targets, got none")
        if lists not in (0, len(sides)):
            raise ValueError(
                "the training targets must be all strings or all token lists, "
                f"got {len(sides) - lists} strings and {lists} lists"
            )
        self.gives_tokens = lists > 0
        self.vocabulary.fit(sides)

    @property
    def is_fitted(self) -> bool:
        """Whether the symbols are known."""
        return bool(self.labels)

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        """Return the symbols of a target (L_y,); -1 for one that training never had.

        Raises:
            TypeError: if it is neither a string nor a list of tokens.
            ValueError: if it is longer than `max_symbols`, or has such a symbol with
                ``unseen="error"``.
        """
        ids = self.encode(raw)
        if self.max_symbols is not None and len(ids) >= self.max_symbols:
            raise ValueError(
                "the target must have fewer symbols than the decoder has learned positions, "
                f"{self.max_symbols}, got {len(ids)}: raise its max_length"
            )
        return torch.tensor(ids, dtype=torch.int64)

    def encode(self, raw: Any) -> list[int]:
        """Return the symbols of a target, as :meth:`__call__` does, of whatever length."""
        parts = self._split(raw)
        if isinstance(parts, list):
            found = [self.vocabulary.encode_word(token) for token in parts]
        else:
            found = self.vocabulary.encode(parts)
        if UNKNOWN in found and self.unseen == "error":
            place = found.index(UNKNOWN)
            symbol = "".join(parts[place : place + 1])
            raise ValueError(f"a target's symbols must be those of training, got {symbol!r}")
        return [UNSEEN if number == UNKNOWN else number for number in found]

    def symbol(self, text: str) -> int:
        """Return the symbol that a text is, -1 where it is none or several."""
        is_whole = self.units in ("word", "token")
        found = [self.vocabulary.encode_word(text)] if is_whole else self.vocabulary.encode(text)
        return found[0] if len(found) == 1 and found[0] >= len(SPECIALS) else UNSEEN

    def join(self, rows: Sequence[Tensor]) -> SequenceBatch:
        """Return the packed targets of a batch."""
        packed = SequenceBatch.from_list(list(rows))
        return packed if rows else packed.replace(values=torch.empty(0, dtype=torch.int64))

    def decode(self, ids: Sequence[int]) -> str | list[str]:
        """Return a text, or its tokens where the training targets were lists.

        Words and tokens of a text stand one space apart. A symbol that training never had reads
        U+FFFD; special ones read nothing.

        Raises:
            ValueError: if there is no such symbol.
        """
        names = self.names(ids)
        if self.gives_tokens:
            return names
        if self.units == "subword":
            return self.vocabulary.decode([number for number in ids if number >= 0])
        return ("" if self.units == "character" else " ").join(names)

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return what each symbol is called, special ones left out."""
        found = []
        for number in ids:
            if number == UNSEEN:
                found.append(UNSEEN_CHARACTER)
                continue
            self.vocabulary.require(number)
            if number >= len(SPECIALS):
                found.append(self.labels[number])
        return found

    def words(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        """Return each word, the place of its first symbol, and that of its last.

        Characters and sub-words make words between white space.
        """
        if self.units in ("word", "token"):
            return [(name, place, place) for place, name in enumerate(self.names(ids))]
        texts = [self.vocabulary.decode([number]) for number in ids]
        groups: list[list[int]] = [[]]
        for place, text in enumerate(texts):
            if text[:1].isspace():
                groups.append([])
            if text.strip():
                groups[-1].append(place)
        spans = [(group[0], group[-1]) for group in groups if group]
        return [
            (self.vocabulary.decode(ids[first : last + 1]).strip(), first, last)
            for first, last in spans
        ]

    def state(self) -> dict[str, Any]:
        """Return the vocabulary, and whether targets are token lists."""
        return {"vocabulary": self.vocabulary.state(), "gives_tokens": self.gives_tokens}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state` gave.

        Raises:
            ValueError: if it is the state of other units.
        """
        self.vocabulary.load_state(state["vocabulary"])
        self.gives_tokens = bool(state["gives_tokens"])

    def _split(self, raw: Side) -> Side:
        """Return a target's words or tokens; a string of smaller units as it is."""
        _require_text(raw)
        if self.units == "token":
            return raw.split() if isinstance(raw, str) else raw
        if self.units == "word":
            return split_words(raw) if isinstance(raw, str) else raw
        if not isinstance(raw, str):
            raise TypeError(
                "a list of tokens needs target_units 'token' or 'word', "
                f"got {self.units!r} for {raw!r:.60}"
            )
        return raw


def _require_text(raw: Any) -> None:
    is_list = isinstance(raw, list) and all(isinstance(token, str) for token in raw)
    if not (is_list or isinstance(raw, str)):
        raise TypeError(
            f"the target must be a string or a list of tokens (list of str), got {raw!r:.60}"
        )
