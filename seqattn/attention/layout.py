"""What the attention layers of one forward pass share: computed once, used by every layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from seqattn.attention.edges import EdgeList
from seqattn.packing import Packing


@dataclass(frozen=True)
class Layout:
    """Where the packed positions lie, and what kernels need besides query, key and value.

    Args:
        packing: the host's layout of the batch.
        rotary: cosine and sine of the rotary angles, each (T, 1, K / 2); None without rotary.
        edge_index: Shape: (2, E), or None.
        edge_weight: Shape: (E,) or (E, H), or None.
    """

    packing: Packing
    rotary: tuple[Tensor, Tensor] | None = None
    edge_index: Tensor | None = None
    edge_weight: Tensor | None = None
    _edges: dict[bool, EdgeList] = field(default_factory=dict, init=False, repr=False)

    def edges(self, *, self_loops: bool) -> EdgeList | None:
        """Return the batch's edges as kernels read them, made once; None without edge slots."""
        if self.edge_index is None:
            return None
        if self_loops not in self._edges:
            self._edges[self_loops] = EdgeList.from_index(
                self.edge_index, self.packing, self_loops=self_loops
            )
        return self._edges[self_loops]

    def weight_rows(self, heads: int) -> int:
        """Return H where every head has its own weights, 1 where all share one."""
        return heads if self.edge_weight is not None and self.edge_weight.dim() == 2 else 1

    def weights_of(self, edges: EdgeList, heads: int, *, loop: float) -> Tensor:
        """Return the weight of every edge for every head: 1 where the batch gives none.

        Args:
            edges: the edges, from :meth:`edges`.
            heads: H.
            loop: weight of an added self-loop.

        Shape:
            returns: (H, E').

        Raises:
            ValueError: if `edge_weight` has neither one column nor H.
        """
        weight = self.edge_weight
        if weight is None:
            weight = self.packing.offsets.new_ones(len(edges) - edges.added).float()
        if weight.dim() == 2 and weight.shape[1] != heads:
            raise ValueError(
                f"edge_weight must have shape (E,) or (E, H = {heads}), got {tuple(weight.shape)}"
            )
        return edges.spread(weight, heads, loop=loop)
