"""What the attention layers of one forward pass share: computed once, used by every layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqattn.packing import Packing


@dataclass(frozen=True)
class Layout:
    """Where the packed positions lie, and what kernels need besides query, key and value.

    Args:
        packing: the host's layout of the batch.
        rotary: cosine and sine of the rotary angles, each (T, K / 2); None without rotary.
        edge_index: Shape: (2, E), or None.
        edge_weight: Shape: (E,) or (E, H), or None.
    """

    packing: Packing
    rotary: tuple[Tensor, Tensor] | None = None
    edge_index: Tensor | None = None
    edge_weight: Tensor | None = None
