"""Rows 8 and 9: attention along weighted edges, alone and beside full attention, against PyG.

Row 8. Our function is the one: softmax over the edges of q · k / sqrt(K) plus a learned gain per
head times the edge's weight. PyG's `TransformerConv`, which adds a projection of the edge to keys
and values instead, is made to compute it by its own hook, the message; gathering, softmax and sum
stay PyG's. That is also cheaper for PyG than the layer as shipped, whose time stands beside.

Row 9. PyG's `GPSConv` as shipped, with that layer as its local part.

Each call is one layer on a batch whose edges are new to it: that they are looked through and laid
out for our kernels is in our time, though a stack of layers does it once. What follows from the
graphs' sizes is not, like PyG's vector of graph numbers: both belong to the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINEConv, GPSConv, TransformerConv
from torch_geometric.utils import softmax

from benchmarks.race_contest import Contest, compare_gradients, copy_linear
from benchmarks.race_data import Graphs
from seqattn.attention.layout import Layout
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.patterns import Edges, Full
from seqattn.layers.feedforward import FeedForward
from seqattn.layers.norms import BatchNorm

_HEADS = 4


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the races on graphs like PATTERN's, Cora's and ZINC's."""
    count = 2 if quick else 32
    dim = 16 if quick else 64
    yield edge_contest("8 edge weights, PATTERN-like", [118] * count, 50, dim, 12.0)
    yield edge_contest("8 edge weights, ZINC-like", _molecules(4 * count), 2.15, dim, 0.0)
    yield edge_contest("8 edge weights, Cora-like", [1354 * min(count, 2)], 4, 4 * dim, 1.3)
    yield block_contest("9 edges beside full, ZINC-like", _molecules(4 * count), 2.15, dim, 1.6)


def edge_contest(name: str, lengths: list[int], degree: float, dim: int, target: float) -> Contest:
    """Return a race of one attention layer, forward and backward, its input's gradient included."""
    graphs, x, probe = _draw(lengths, degree, dim)
    weight = graphs.edge_weight.requires_grad_()
    ours = MultiHeadAttention(dim, _HEADS, pattern=Edges(), edge_weight="bias")
    theirs = EdgeBiasConv(dim, _HEADS)
    stock = TransformerConv(dim, dim // _HEADS, _HEADS, edge_dim=1, root_weight=False)
    copy_attention(ours, theirs)

    def run_ours() -> Tensor:
        layout = Layout(graphs.packing, edge_index=graphs.edge_index, edge_weight=weight)
        out: Tensor = ours(x, layout)
        return out

    def run_theirs() -> Tensor:
        out: Tensor = theirs(x, graphs.edge_index, weight)
        return out

    assert ours.gain is not None
    wanted = [(x, x), (weight, weight), (ours.gain, theirs.gain)]
    return Contest(
        name=name,
        peer="PyG TransformerConv, its message made the same",
        data=f"{graphs.describe()}, dim {dim}, {_HEADS} heads",
        compare=compare_gradients(run_ours, run_theirs, wanted),
        ours=lambda: run_ours().backward(probe),
        theirs=lambda: run_theirs().backward(probe),
        target=target,
        others={
            "TransformerConv as shipped": lambda: stock(
                x, graphs.edge_index, weight[:, None]
            ).backward(probe)
        },
    )


def block_contest(name: str, lengths: list[int], degree: float, dim: int, target: float) -> Contest:
    """Return a race of a block with edges and full attention side by side."""
    graphs, x, probe = _draw(lengths, degree, dim)
    weight = graphs.edge_weight.requires_grad_()
    ours = ParallelBlock(dim, _HEADS)
    theirs = GPSConv(dim, EdgeBiasConv(dim, _HEADS), heads=_HEADS)
    stock = GPSConv(dim, GINEConv(_gine_network(dim), edge_dim=1), heads=_HEADS)
    copy_block(ours, theirs)

    def run_ours() -> Tensor:
        layout = Layout(graphs.packing, edge_index=graphs.edge_index, edge_weight=weight)
        out: Tensor = ours(x, layout)
        return out

    def run_theirs() -> Tensor:
        out: Tensor = theirs(x, graphs.edge_index, graphs.batch, edge_weight=weight)
        return out

    def run_stock() -> Tensor:
        edges = weight[:, None]
        out: Tensor = stock(x, graphs.edge_index, graphs.batch, edge_attr=edges)
        return out

    return Contest(
        name=name,
        peer="PyG GPSConv",
        data=f"{graphs.describe()}, dim {dim}, {_HEADS} heads",
        compare=compare_gradients(run_ours, run_theirs, [(x, x), (weight, weight)]),
        ours=lambda: run_ours().backward(probe),
        theirs=lambda: run_theirs().backward(probe),
        target=target,
        others={"GPSConv with GINE": lambda: run_stock().backward(probe)},
    )


class EdgeBiasConv(TransformerConv):  # type: ignore[misc]  # PyG is not typed
    """PyG's layer with the edge's weight in the score, and an output projection.

    Args:
        dim: D.
        heads: H.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, dim // heads, heads, root_weight=False)
        self.gain = nn.Parameter(torch.ones(heads))
        self.project_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """Return what every node reads. Shape: x (T, D); edge_weight (E,). returns: (T, D)."""
        out: Tensor = self.project_out(super().forward(x, edge_index, edge_weight[:, None]))
        return out

    def message(
        self,
        query_i: Tensor,
        key_j: Tensor,
        value_j: Tensor,
        edge_attr: Tensor,
        index: Tensor,
        ptr: Tensor | None,
        size_i: int | None,
    ) -> Tensor:
        """Return what each edge carries. Shape: query_i (E, H, K). returns: (E, H, K)."""
        scores = (query_i * key_j).sum(dim=-1) / math.sqrt(self.out_channels)
        weights = softmax(scores + edge_attr * self.gain, index, ptr, size_i)
        self._alpha = weights
        return value_j * weights[:, :, None]


class ParallelBlock(nn.Module):
    """Attention along edges beside attention to all, then a feed-forward network.

    The function of a GPS layer (Rampášek et al. 2022, equations 2 to 6), from this library's
    layers.

    Args:
        dim: D.
        heads: H.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.near = MultiHeadAttention(dim, heads, pattern=Edges(), edge_weight="bias")
        self.far = MultiHeadAttention(dim, heads, pattern=Full())
        self.feedforward = FeedForward(dim, 2 * dim, kind="relu", dropout=0.0)
        self.norms = nn.ModuleList(BatchNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the updated nodes. Shape: x (T, D). returns: (T, D)."""
        near, far, last = self.norms
        both = near(x + self.near(x, layout)) + far(x + self.far(x, layout))
        out: Tensor = last(both + self.feedforward(both))
        return out


def copy_attention(ours: MultiHeadAttention, theirs: EdgeBiasConv) -> None:
    """Give PyG's layer our weights."""
    parts: list[Any] = [theirs.lin_query, theirs.lin_key, theirs.lin_value]
    weights, biases = ours.project_in.weight.chunk(3), ours.project_in.bias.chunk(3)
    with torch.no_grad():
        for part, weight, bias in zip(parts, weights, biases, strict=True):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
    copy_linear(ours.project_out, theirs.project_out)


def copy_block(ours: ParallelBlock, theirs: Any) -> None:
    """Give PyG's block our weights."""
    copy_attention(ours.near, theirs.conv)
    with torch.no_grad():
        theirs.attn.in_proj_weight.copy_(ours.far.project_in.weight)
        theirs.attn.in_proj_bias.copy_(ours.far.project_in.bias)
    copy_linear(ours.far.project_out, theirs.attn.out_proj)
    copy_linear(ours.feedforward.expand, theirs.mlp[0])
    copy_linear(ours.feedforward.contract, theirs.mlp[3])


def _draw(lengths: list[int], degree: float, dim: int) -> tuple[Graphs, Tensor, Tensor]:
    torch.manual_seed(0)
    graphs = Graphs.draw(lengths, degree)
    x, probe = torch.randn(2, graphs.packing.total, dim)
    return graphs, x.clone().requires_grad_(), probe


def _molecules(count: int) -> list[int]:
    """Return sizes like those of ZINC's molecules: 9 to 37 atoms, 23.2 in the mean."""
    generator = torch.Generator().manual_seed(0)
    drawn = 23.2 + 4.5 * torch.randn(count, generator=generator)
    return [int(size) for size in drawn.round().clamp(9, 37)]


def _gine_network(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
