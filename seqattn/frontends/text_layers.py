"""What turns the ids of a text into vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqattn.frontends.text_vocabulary import SPECIALS, UNKNOWN


class LearnedSymbols(nn.Module):
    """A learned vector for each of V symbols, unknown's zero at first.

    Entries start with standard deviation 1 / sqrt(D), which a tied output layer needs too.
    """

    no_weight_decay = True  # an embedding

    def __init__(self, symbols: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(symbols, dim) * dim**-0.5)
        with torch.no_grad():
            self.table[UNKNOWN] = 0

    @property
    def weight(self) -> Tensor:
        """The symbols' vectors. Shape: (V, D)."""
        return self.table

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (T,). Shape: (T, D)."""
        return F.embedding(ids, self.table)


class OneHotSymbols(nn.Module):
    """A one-hot vector per symbol through one fully connected layer with bias.

    It is ``linear(one_hot(ids, V))``, initialised as a linear layer is, though the product with a
    one-hot vector is computed as what it is, the choice of one row. `kernel` is the layer's
    weight, transposed. Shape: (V, D).
    """

    def __init__(self, symbols: int, dim: int) -> None:
        super().__init__()
        bound = symbols**-0.5
        self.kernel = nn.Parameter(torch.empty(symbols, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    @property
    def weight(self) -> Tensor:
        """The symbols' vectors. Shape: (V, D)."""
        return self.kernel + self.bias

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (T,). Shape: (T, D)."""
        return F.embedding(ids, self.kernel) + self.bias


class VectorSymbols(nn.Module):
    """Word vectors of a file, projected to D. They are in the state, so that no file is needed.

    Words that the file lacks, special symbols among them, start at the mean of the others. With
    `freeze` these are learned and nothing else of the table is; without, the whole table is.
    Until :meth:`fill` or a checkpoint gives them, the vectors are NaN, and using them is refused.

    Raises:
        RuntimeError: when called without vectors.

    Args:
        symbols: V.
        vector_dim: F, numbers in a vector of the file.
        missing: number of symbols that the file lacks.
        dim: D.
        freeze: whether the file's vectors stay as they are.
    """

    def __init__(
        self, symbols: int, vector_dim: int, missing: int, dim: int, *, freeze: bool
    ) -> None:
        super().__init__()
        table = torch.full((symbols, vector_dim), float("nan"))
        self.table = nn.Parameter(table, requires_grad=not freeze)
        self.slots: Tensor
        self.register_buffer("slots", torch.zeros(symbols, dtype=torch.int64))
        self.missing = nn.Embedding(missing + 1 if freeze else 1, vector_dim, padding_idx=0)
        self.projection = nn.Linear(vector_dim, dim)
        self.freeze = freeze
        self._is_checked = False

    @torch.no_grad()
    def fill(self, vectors: Tensor) -> None:
        """Take vectors (V, F); those of missing words are NaN."""
        missing = vectors[:, 0].isnan()
        mean = vectors[~missing].mean(0)
        if not self.freeze:
            self.table.copy_(torch.where(missing[:, None], mean, vectors))
            return
        self.table.copy_(vectors.masked_fill(missing[:, None], 0))
        self.slots.copy_(missing.cumsum(0) * missing)  # 0: the file has it
        self.missing.weight[1:] = mean

    def _require_vectors(self) -> None:
        if bool(self.table.isnan().any()):
            raise RuntimeError("the word vectors must come from fitting or from a checkpoint first")
        self._is_checked = True

    @property
    def weight(self) -> Tensor:
        """The symbols' vectors. Shape: (V, D)."""
        projected: Tensor = self.projection(self.table + self.missing(self.slots))
        return projected

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (T,). Shape: (T, D)."""
        if not self._is_checked:
            self._require_vectors()
        own = F.embedding(ids, self.table) + self.missing(self.slots[ids])  # (T, F)
        projected: Tensor = self.projection(own)
        return projected


class CharacterConvolution(nn.Module):
    """A vector for each token from its characters: convolution, ReLU, maximum over the token.

    As in Ma and Hovy (2016), with windows of three characters that see the token's edges. Since
    few characters are distinct, the convolution of every character at every place of the window
    is computed once and a window's is the sum of three rows. So tokens do not touch each other's
    numbers, not by a bit, whatever lies beside them in the batch.

    Args:
        characters: number of distinct characters.
        character_dim: width of a character's embedding; there are four times as many filters.
        dim: D.
    """

    width = 3

    def __init__(self, characters: int, character_dim: int, dim: int) -> None:
        super().__init__()
        filters = 4 * character_dim
        scale = (self.width * character_dim) ** -0.5
        self.edge = characters
        self.embedding = nn.Embedding(characters + 1, character_dim)
        nn.init.normal_(self.embedding.weight, std=character_dim**-0.5)
        self.kernel = nn.Parameter(torch.randn(self.width, character_dim, filters) * scale)
        self.bias = nn.Parameter(torch.zeros(filters))
        self.projection = nn.Linear(filters, dim, bias=False)
        nn.init.normal_(self.projection.weight, std=(filters * dim) ** -0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the tokens' vectors; zero for a token without characters.

        Shape:
            ids: (T, M) characters of each token, negative ones fill up. Returns (T, D).
        """
        real = ids >= 0
        rows = self.embedding.num_embeddings
        places = torch.arange(self.width, device=ids.device) * rows
        inside = F.pad(torch.where(real, ids, self.edge), (1, 1), value=self.edge)
        windows = inside.unfold(1, self.width, 1) + places  # (T, M, 3)
        tables = (self.embedding.weight @ self.kernel).flatten(0, 1)  # (3 · characters, filters)
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            pooled = self._pool_packed(windows, real, tables)
        else:
            pooled = self._pool_padded(windows, real, tables)
        projected: Tensor = self.projection(pooled)
        return projected

    def _pool_packed(self, windows: Tensor, real: Tensor, tables: Tensor) -> Tensor:
        """Convolve the real characters only; their number makes a GPU wait for the host."""
        found = F.embedding_bag(windows[real], tables, mode="sum") + self.bias  # (N, filters)
        owner = real.nonzero()[:, :1].expand_as(found)
        pooled = found.new_zeros(len(real), found.shape[1])  # the zeros are the ReLU
        return pooled.scatter_reduce(0, owner, found, "amax")

    def _pool_padded(self, windows: Tensor, real: Tensor, tables: Tensor) -> Tensor:
        """Convolve all M places: the same numbers, no wait, no shape that depends on the data."""
        found = F.embedding_bag(windows.flatten(0, 1), tables, mode="sum") + self.bias
        found = found.view(*real.shape, -1).relu()  # (T, M, filters)
        return found.masked_fill(~real[..., None], 0).amax(1)


def drop_symbols(ids: Tensor, probability: float) -> Tensor:
    """Return ids with ordinary symbols replaced by unknown, each with that probability.

    It draws from torch's global generator, as dropout does.
    """
    drawn = torch.rand(ids.shape, device=ids.device) < probability
    return ids.masked_fill(drawn & (ids >= len(SPECIALS)), UNKNOWN)


def average(ids: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of each row's symbols, negative ids left out.

    Shape:
        ids: (T, M), with an id that is not negative in every row. weight: (V, D). Returns (T, D).
    """
    real = ids >= 0
    share = real.to(weight.dtype) / real.sum(1, keepdim=True)
    return F.embedding_bag(ids.clamp(min=0), weight, per_sample_weights=share, mode="sum")
