"""The front-end for text: words with their characters, characters, or sub-words."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.base import FrontEnd
from seqattn.frontends.text_layers import (
    CharacterConvolution,
    LearnedSymbols,
    OneHotSymbols,
    VectorSymbols,
    average,
    drop_symbols,
)
from seqattn.frontends.text_vectorizer import TextVectorizer
from seqattn.frontends.text_vocabulary import SPECIALS, TextVocabulary, Units

Embedding = Literal["learned", "one_hot", "vectors"]


class TextFrontEnd(FrontEnd):
    """Gives a vector to each word, character or sub-word of a string, or token of a list.

    A raw source is a string, a pair of strings (a tuple of two) or a list of tokens. A token list
    keeps one position per token, whatever the units; see :class:`TextVectorizer` for the layout.

    Args:
        units: what one position of a string is.
        embedding: 'learned' vectors; 'one_hot' vectors through one linear layer; 'vectors' of a
            file, projected, for units 'word'.
        vectors_path: word-vector text file, ``.gz`` or not, read when fitted and never after.
            Its further words fill the vocabulary up to `vocabulary_size`.
        freeze_vectors: whether the file's vectors stay as they are.
        vocabulary_size: most symbols, the five special ones included. None for 30,000 words,
            8,000 sub-words or all characters.
        min_count: symbols seen less often in training are unknown.
        lowercase: whether symbols are lower-cased. A word's characters keep their case.
        token_length: characters of a word, or pieces of a listed token, that are kept: the first
            and the last halves.
        character_dim: width of a character's embedding in the convolution that gives words, and
            tokens in units 'character', a vector by their spelling; 0 for none.
        word_dropout: probability that in training a symbol is replaced by unknown; a word's
            characters stay. 0.1 to 0.25 helps where many words of new text are unknown.
        dropout: probability of dropout on the vectors.
        embedding_norm: whether the vectors are layer-normalised before dropout.
        begin: whether a begin position comes first, for language models and for pooling 'first'.
            It has no label of its own: token labelling goes without.
        max_tokens: positions kept at most, begin and separator included; None for all. A list
            that is cut no longer fits labels per token.

    Raises:
        ValueError: if an argument breaks a rule above.
    """

    vectorizer: TextVectorizer
    symbols: LearnedSymbols | OneHotSymbols | VectorSymbols

    def __init__(
        self,
        units: Units = "word",
        *,
        embedding: Embedding = "learned",
        vectors_path: str | None = None,
        freeze_vectors: bool = True,
        vocabulary_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        token_length: int = 16,
        character_dim: int = 32,
        word_dropout: float = 0.0,
        dropout: float = 0.1,
        embedding_norm: bool = False,
        begin: bool = False,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__()
        _require_embedding(embedding, vectors_path, freeze_vectors)
        _require_probability("word_dropout", word_dropout)
        _require_probability("dropout", dropout)
        if character_dim < 0:
            raise ValueError(f"character_dim must be at least 0, got {character_dim}")
        vocabulary = TextVocabulary(
            units,
            size=vocabulary_size,
            min_count=min_count,
            lowercase=lowercase,
            vectors_path=vectors_path,
        )
        self.vectorizer = TextVectorizer(
            vocabulary,
            token_length=token_length,
            with_characters=character_dim > 0,
            begin=begin,
            max_tokens=max_tokens,
        )
        self.units = units
        self.embedding = embedding
        self.freeze_vectors = freeze_vectors
        self.character_dim = character_dim
        self.word_dropout = word_dropout
        self.embedding_norm = embedding_norm
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the embeddings of the fitted vocabulary; see :meth:`FrontEnd.build`."""
        vocabulary = self.vectorizer.vocabulary
        self.symbols = self._build_symbols(dim)
        by_word = self.units == "word"
        spelled = by_word or (self.units == "character" and self.vectorizer.has_tokens)
        count = len(vocabulary.alphabet if by_word else vocabulary.symbols)
        self.characters = None
        if spelled and self.character_dim:
            self.characters = CharacterConvolution(count, self.character_dim, dim)
        self.segments = nn.Embedding(2, dim) if self.vectorizer.has_pairs else None
        if self.segments is not None:
            nn.init.normal_(self.segments.weight, std=dim**-0.5)
        self.norm = nn.LayerNorm(dim) if self.embedding_norm else nn.Identity()

    @property
    def symbol_embedding(self) -> Tensor:
        """The vectors of the V symbols, for an output layer tied to them. Shape: (V, D)."""
        return self.symbols.weight

    @property
    def spellings(self) -> list[str]:
        """The symbols; none of sub-words, nor of tokens that are the mean of their pieces."""
        is_whole = self.units == "word" or not self.vectorizer.has_tokens
        return self.vectorizer.vocabulary.symbols if is_whole and self.units != "subword" else []

    def spell(self, batch: SequenceBatch) -> Tensor:
        """Return the symbol of each position, -1 for a special one; see :meth:`FrontEnd.spell`."""
        ids = batch.values[:, 0]
        return ids.where(ids >= len(SPECIALS), -1)

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T, D), everything else as it was.

        Shape:
            batch.values: (T, C), as :class:`TextVectorizer` makes them.
        """
        inner = self.vectorizer.inner_columns
        x = self._embed(batch.values[:, :inner])  # (T, D)
        if self.segments is not None:
            x = x + self.segments(batch.values[:, inner])
        return batch.replace(values=self.dropout(self.norm(x)))

    def _build_symbols(self, dim: int) -> LearnedSymbols | OneHotSymbols | VectorSymbols:
        vocabulary = self.vectorizer.vocabulary
        count = len(vocabulary.symbols)
        if self.embedding == "learned":
            return LearnedSymbols(count, dim)
        if self.embedding == "one_hot":
            return OneHotSymbols(count, dim)
        width, missing = vocabulary.vector_shape
        symbols = VectorSymbols(count, width, missing, dim, freeze=self.freeze_vectors)
        if vocabulary.vectors is not None:
            symbols.fill(vocabulary.vectors)
        return symbols

    def _embed(self, cells: Tensor) -> Tensor:
        """Return the vectors of rows (T, inner columns). Shape: (T, D)."""
        ids = cells[:, :1] if self.units == "word" else cells
        if self.training and self.word_dropout:
            ids = drop_symbols(ids, self.word_dropout)
        single = ids.shape[1] == 1
        x = self.symbols(ids[:, 0]) if single else average(ids, self.symbols.weight)
        if self.characters is not None:
            x = x + self.characters(cells[:, 1:] if self.units == "word" else ids)
        return x


def _require_probability(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in 0 … 1, without 1, got {value}")


def _require_embedding(embedding: str, path: str | None, freeze: bool) -> None:
    """Check the kind of embedding, and that word vectors go with their arguments."""
    kinds = get_args(Embedding)
    if embedding not in kinds:
        raise ValueError(f"embedding must be one of {', '.join(kinds)}, got {embedding!r}")
    if embedding == "vectors" and path is None:
        raise ValueError("vectors_path must name a file for embedding='vectors', got None")
    if embedding != "vectors" and path is not None:
        raise ValueError(f"vectors_path needs embedding='vectors', got {embedding!r}")
    if embedding != "vectors" and not freeze:
        raise ValueError(f"freeze_vectors=False needs embedding='vectors', got {embedding!r}")
