"""What a computation allocates, as a tensor library sees it: nothing that a pass computes hides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Memory:
    """Bytes of new storage.

    Args:
        largest: of the largest tensor.
        total: of all together.
    """

    largest: int
    total: int


def memory_of(function: Callable[..., Tensor], *inputs: Tensor) -> Memory:
    """Return what a function and the gradient of its sum allocate, temporaries included."""
    with _Meter() as meter:
        function(*inputs).sum().backward()
    return Memory(max(meter.sizes), sum(meter.sizes))


class _Meter(TorchDispatchMode):
    """Notes the storage of every output that shares it with no input."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {_storage(x)[0] for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and _storage(x)[0] not in known:
                self.sizes.append(_storage(x)[1])
        return out


def _storage(x: Tensor) -> tuple[int, int]:
    """Return the address and the size in bytes of what a tensor, or a sparse one, holds."""
    storage = (x.values() if x.layout == torch.sparse_csr else x).untyped_storage()
    return storage.data_ptr(), storage.nbytes()
