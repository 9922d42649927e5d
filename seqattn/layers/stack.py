"""What encoder and decoder have in common: a stack of layers with slots, and positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from seqattn.attention.kernels import KernelName
from seqattn.layers.encoder_layer import ResidualLayer
from seqattn.layers.norms import make_norm
from seqattn.layers.positions import LearnedPositions, SinusoidalPositions
from seqattn.layers.slots import AttentionSizes, PositionName, slots_per_layer
from seqattn.recorded import Recorded


class LayerStack(Recorded, nn.Module):
    """Layers over packed sequences, each with its own slots; see :class:`Encoder` for them.

    Args:
        dim: D.
        depth: number of layers.
        heads: H.
        slots: for each field of :class:`LayerSlots` one value, or a list of `depth` values.
        max_length: positions in the learned table.
        feedforward_dim: inner width of the feed-forward networks; 4 D by default.
        head_dim: K; D / H by default.
        value_dim: width of a head's values; K by default.
        dropout: on the residual branches and inside the feed-forward network.
        attention_dropout: on the attention weights.
        kernel: which kernel computes the attention.

    Raises:
        ValueError: if sizes, rates or slots do not fit.
    """

    layer_class: ClassVar[type[ResidualLayer]]
    reads_memory: ClassVar[bool] = False
    """Whether each layer has a cross-attention, which takes its score."""

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        slots: Mapping[str, Any],
        max_length: int,
        feedforward_dim: int | None,
        head_dim: int | None,
        value_dim: int | None,
        dropout: float,
        attention_dropout: float,
        kernel: KernelName,
    ) -> None:
        super().__init__()
        _require_sizes(
            {
                "dim": dim,
                "depth": depth,
                "heads": heads,
                "max_length": max_length,
                "feedforward_dim": feedforward_dim,
                "head_dim": head_dim,
                "value_dim": value_dim,
            }
        )
        for name, rate in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} must lie in 0 … 1, got {rate}")
        self.dim = dim
        self.slots = slots_per_layer(depth, slots, kernel, reads_memory=self.reads_memory)
        sizes = AttentionSizes(heads, head_dim, value_dim, attention_dropout, kernel)
        inner = 4 * dim if feedforward_dim is None else feedforward_dim
        self.layers = nn.ModuleList(
            self.layer_class(dim, own, sizes, feedforward_dim=inner, dropout=dropout)
            for own in self.slots
        )
        self.positions = [own.position for own in self.slots]
        self.added = _make_added_positions(self.positions, dim, max_length)
        last = self.slots[-1]
        self.final_norm = make_norm(last.norm_kind, dim) if last.norm == "pre" else nn.Identity()
        self.head_dim = dim // heads if head_dim is None else head_dim

    @property
    def max_positions(self) -> int | None:
        """Positions that a sequence may have: those of the learned table; None without one."""
        for added in self.added.values():
            if isinstance(added, LearnedPositions):
                return added.table.num_embeddings
        return None

    def _require_causal(self) -> None:
        """Refuse to go step by step where a layer looks ahead."""
        for index, slots in enumerate(self.slots):
            if not slots.pattern.is_causal and slots.mixer != "none":
                name = type(slots.pattern).__name__
                raise ValueError(
                    f"only causal patterns can be computed step by step, "
                    f"got pattern {name} in layer {index}"
                )

    def _turns(self) -> bool:
        """Return whether a layer turns queries and keys by their positions."""
        return any(slots.attends and slots.position == "rotary" for slots in self.slots)

    def _add_positions(self, index: int, x: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Add the positions that layer `index` is the first to name."""
        name = self.positions[index]
        if name not in self.added or name in self.positions[:index]:
            return x
        out: Tensor = self.added[name](x, positions, longest)
        return out


def _require_sizes(sizes: Mapping[str, int | None]) -> None:
    for name, size in sizes.items():
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"{name} must be a whole number and at least 1, got {size!r}")


def _make_added_positions(names: list[PositionName], dim: int, max_length: int) -> nn.ModuleDict:
    added = nn.ModuleDict()
    if "sinusoidal" in names:
        added["sinusoidal"] = SinusoidalPositions(dim)
    if "learned" in names:
        added["learned"] = LearnedPositions(dim, max_length)
    return added
