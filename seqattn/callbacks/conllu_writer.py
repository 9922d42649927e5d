"""Predicted labels as CoNLL-U."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seqattn.batch import Example
from seqattn.errors import DataError
from seqattn.frontends.text_vectorizer import TextVectorizer

_BREAKS = re.compile("[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def words_of(example: Example, vectorizer: object) -> list[str]:
    """Return the tokens that a front-end makes of a source, one per position.

    Args:
        example: a token list is its own answer; a string is cut as the front-end cuts it.
        vectorizer: the front-end's.

    Raises:
        DataError: if positions are no words: of characters, sub-words, pairs and sources that the
            front-end shortens, and of anything but text.
    """
    words = _words(example.source, vectorizer)
    if words is None:
        raise DataError(
            "format=conllu needs token lists, or strings in units 'word', "
            f"got {type(example.source).__name__}",
            key=example.key,
        )
    if isinstance(vectorizer, TextVectorizer) and vectorizer.length(example.source) != len(words):
        raise DataError(
            f"format=conllu needs one position per token, got {len(words)} tokens in "
            f"{vectorizer.length(example.source)} positions",
            key=example.key,
        )
    return words


def require_tags(key: str, words: Sequence[str], tags: Any) -> None:
    """Check that a prediction is one label per token.

    Raises:
        DataError: if it is not.
    """
    if not isinstance(tags, list) or len(tags) != len(words):
        raise DataError(
            f"format=conllu needs one label per token, got {tags!r} for {len(words)} tokens",
            key=key,
        )


def conllu_block(key: str, words: Sequence[str], tags: Sequence[str]) -> str:
    """Return one CoNLL-U sentence with the tags in the column UPOS.

    A tab or a line break, which would end the column, becomes a space; an empty token ``_``.

    Raises:
        DataError: if there is not one tag for each token.
    """
    require_tags(key, words, tags)
    clean = [_cell(word) for word in words]
    rows = [f"# sent_id = {_cell(key)}", f"# text = {' '.join(clean)}"]
    for number, (word, tag) in enumerate(zip(clean, tags, strict=True), start=1):
        rows.append("\t".join([str(number), word, "_", _cell(tag), *["_"] * 6]))
    return "\n".join(rows) + "\n\n"


def _words(source: Any, vectorizer: object) -> list[str] | None:
    if isinstance(source, list):
        return [str(token) for token in source]
    by_word = isinstance(vectorizer, TextVectorizer) and vectorizer.vocabulary.units == "word"
    if isinstance(source, str) and by_word and isinstance(vectorizer, TextVectorizer):
        return vectorizer.vocabulary.words(source)
    return None


def _cell(text: object) -> str:
    return _BREAKS.sub(" ", str(text)) or "_"
