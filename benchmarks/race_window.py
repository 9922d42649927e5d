"""Row 7: a sliding window against torch's dense attention with the same mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.race import require_equal
from benchmarks.race_contest import EXACT, Contest, compare_outputs
from seqattn.attention.patterns import Window
from seqattn.attention.window import window_attention
from seqattn.packing import Packing

_WINDOW = 128
_HEADS, _HEAD_DIM = 4, 64
_PEER = "scaled_dot_product_attention"


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the forward race, and the one of forward and backward."""
    length = 4 * _WINDOW if quick else 2048
    torch.manual_seed(0)
    heads = [torch.randn(length, _HEADS, _HEAD_DIM) for _ in range(3)]
    dense = [x.transpose(0, 1)[None].contiguous() for x in heads]
    packing, window = Packing.from_lengths([length]), Window(_WINDOW // 2, _WINDOW // 2)
    steps = torch.arange(length)
    mask = window.allows(steps[None, :] - steps[:, None])
    data = f"1 sequence of {length}, {_HEADS} heads of {_HEAD_DIM}, {window.left} each way"

    def ours() -> Tensor:
        return window_attention(*heads, packing, pattern=window, scale=_HEAD_DIM**-0.5)

    def theirs(mask: Tensor | None = mask) -> Tensor:
        return F.scaled_dot_product_attention(*dense, attn_mask=mask)

    def as_packed() -> Tensor:
        return theirs()[0].transpose(0, 1)

    def unmasked() -> Tensor:
        return theirs(None)

    unmasked_name = "theirs without the mask"
    yield Contest(
        name="7 window, forward",
        peer=_PEER,
        data=data,
        compare=compare_outputs(ours, as_packed),
        ours=_without_gradient(ours),
        theirs=_without_gradient(theirs),
        target=4.5,
        others={unmasked_name: _without_gradient(unmasked)},
    )
    for x in (*heads, *dense):
        x.requires_grad_()
    probe = torch.randn(length, _HEADS, _HEAD_DIM)
    dense_probe = probe.transpose(0, 1)[None].contiguous()

    yield Contest(
        name="7 window, forward and backward",
        peer=_PEER,
        data=data,
        compare=lambda: _compare_gradients(ours, as_packed, heads, dense),
        ours=lambda: ours().backward(probe),
        theirs=lambda: theirs().backward(dense_probe),
        target=1.3,
        others={unmasked_name: lambda: unmasked().backward(dense_probe)},
    )


def _compare_gradients(
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor],
    heads: list[Tensor],
    dense: list[Tensor],
) -> float:
    """Compare outputs and gradients; those of the dense side are laid out differently."""
    outputs = ours(), theirs()
    difference = require_equal("ours and theirs", *(out.detach() for out in outputs), EXACT)
    mine = torch.autograd.grad(outputs[0].square().sum(), heads)
    other = torch.autograd.grad(outputs[1].square().sum(), dense)
    for found, expected in zip(mine, other, strict=True):
        require_equal("the gradients", found, expected[0].transpose(0, 1), EXACT)
    return difference


def _without_gradient(run: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(run)
