"""The GPU kernel for packed sequences: flash attention that reads offsets, in half precision."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from seqattn.attention.patterns import Causal, Full, Pattern, Window
from seqattn.packing import Packing


def _find_varlen_attn() -> Any:
    """Return torch's own function; None where this torch has none, or one without windows."""
    if find_spec("torch.nn.attention.varlen") is None:
        return None
    found = import_module("torch.nn.attention.varlen").varlen_attn
    return found if {"scale", "window_size"} <= signature(found).parameters.keys() else None


VARLEN_ATTN = _find_varlen_attn()
HALF = (torch.float16, torch.bfloat16)
# Flash attention's largest head.
_MAX_HEAD_DIM = 256


def why_not_varlen(query: Tensor, value: Tensor, pattern: Pattern, *, is_plain: bool) -> str | None:
    """Return what keeps the kernel from computing this, or None.

    Args:
        query: packed queries (T, H, K).
        value: packed values (T, H, K_value).
        pattern: who may see whom.
        is_plain: dot score, no bias, no edges, no dropout.
    """
    if query.device.type != "cuda" or query.dtype not in HALF:
        return f"it needs CUDA and half precision, got {query.device.type} and {query.dtype}"
    if not isinstance(pattern, Full | Causal | Window):
        return f"it knows full, causal and window patterns, got {type(pattern).__name__}"
    if not is_plain:
        return "it knows the plain dot score only, got a bias, edges, dropout or another score"
    width = query.shape[2]
    if width != value.shape[2] or width % 8 or width > _MAX_HEAD_DIM:
        return (
            f"head_dim and value_dim must be equal, a multiple of 8 and at most {_MAX_HEAD_DIM}, "
            f"got {width} and {value.shape[2]}"
        )
    if VARLEN_ATTN is None:
        return f"torch {torch.__version__} has no varlen_attn"
    return None


def window_size(pattern: Pattern) -> tuple[int, int]:
    """Return the kernel's name for a pattern: positions before and after, -1 for all."""
    if isinstance(pattern, Window):
        return pattern.left, pattern.right
    return (-1, 0) if pattern.is_causal else (-1, -1)


def varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    *,
    pattern: Pattern,
    scale: float,
) -> Tensor:
    """Return the attention output of packed sequences, without padding and without waiting.

    Shape:
        query, key, value (T, H, K). returns: (T, H, K).
    """
    if packing.total == 0:
        return value * (query * key).sum(-1, keepdim=True)
    longest = packing.max_length
    out: Tensor = VARLEN_ATTN(
        query.contiguous(),
        key.to(query.dtype).contiguous(),
        value.to(query.dtype).contiguous(),
        packing.cu_seqlens,
        packing.cu_seqlens,
        longest,
        longest,
        scale=scale,
        window_size=window_size(pattern),
    )
    return out
