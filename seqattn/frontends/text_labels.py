"""What each position of a text is called: the tokens on the axes of a picture."""

from __future__ import annotations

from typing import Any

from seqattn.frontends.text_units import Side, read_sides
from seqattn.frontends.text_vectorizer import TextVectorizer
from seqattn.frontends.text_vocabulary import BEGIN, SEPARATOR, SPECIALS, TextVocabulary


def text_labels(vectorizer: TextVectorizer, raw: Any) -> list[str]:
    """Return the token of each position of a source: as it is written, or as it was listed.

    A word or listed token reads as in the source, known or not; a character or sub-word reads as
    the model sees it, ``<unk>`` where it is unknown. Separator and begin read ``<sep>`` and
    ``<begin>``.

    Raises:
        TypeError: if the source is of the wrong kind.
        ValueError: if it is a pair or a token list and the training sources held none.
    """
    symbols = vectorizer(raw).values[:, vectorizer.symbol_column].tolist()
    sides = read_sides(raw)
    begin = [SPECIALS[BEGIN]] if vectorizer.begin else []
    labels = _side_labels(vectorizer.vocabulary, sides[0])
    if len(sides) == 1:
        return [*begin, *labels][: len(symbols)]
    place = symbols.index(SEPARATOR)  # no text becomes a separator
    first = [*begin, *labels][:place]
    second = _side_labels(vectorizer.vocabulary, sides[1])
    return [*first, SPECIALS[SEPARATOR], *second][: len(symbols)]


def _side_labels(vocabulary: TextVocabulary, side: Side) -> list[str]:
    if isinstance(side, list):
        return side
    if vocabulary.units == "word":
        return vocabulary.words(side)
    return [
        SPECIALS[number] if number < len(SPECIALS) else vocabulary.decode([number])
        for number in vocabulary.encode(side)
    ]
