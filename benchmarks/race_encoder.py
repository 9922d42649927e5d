"""Rows 1 and 3: a ragged encoder against torch's own, trained and applied.

A training step is forward, the mean square of the real positions, backward and AdamW. Both sides
have the same weights and drop at the same places with the same probability, attention weights
included; outputs and gradients are compared without dropout. The loss is the same on both sides:
nothing is gained by it here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from benchmarks.race import require_equal
from benchmarks.race_contest import (
    Contest,
    compare_gradients,
    compare_outputs,
    copy_linear,
)
from benchmarks.race_data import Ragged, length_sorted_batches, ragged_batches
from seqattn import Encoder
from seqattn.layers.dropout import Dropout
from seqattn.layers.encoder_layer import EncoderLayer
from seqattn.optim import make_optimizer

DIM, HEADS, DEPTH, INNER = 256, 4, 4, 1024
DROPOUT = 0.1
RATE = 1e-4
# bfloat16 has 8 bits; over 4 layers the outputs, of size 1, differ by a few of the last.
HALF_TOLERANCE = 0.1


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the races of training, of training in bfloat16, and of inference."""
    random, by_length = batches(quick=quick)
    yield training("1 training, random batch", random, target=1.8)
    yield training("1 training, length-sorted batches", by_length, target=0.0)
    yield half_training("1 training, ours in bfloat16", random, 2 if quick else 300)
    yield inference("3 inference, random batch", random, "post", target=1.2)
    yield inference("3 inference, random batch, pre norms", random, "pre", target=0.0)
    yield inference("3 inference, length-sorted batches", by_length, "post", target=0.0)


def batches(*, quick: bool) -> tuple[list[Ragged], list[Ragged]]:
    """Return a batch drawn at random, and a handful cut from a sorted pool."""
    size = 4 if quick else 32
    random = ragged_batches(1, size, 8, 64, by_length=False)
    by_length = length_sorted_batches(size, 8, 64)
    drawn = [[Ragged.draw(lengths, DIM) for lengths in chosen] for chosen in (random, by_length)]
    return drawn[0], drawn[1]


def training(name: str, batches: Sequence[Ragged], target: float) -> Contest:
    """Return the race of a training step on each batch, taken apart."""
    ours, theirs = make_pair(norm="pre")
    return Contest(
        name=name,
        peer="nn.TransformerEncoder",
        data=describe(batches),
        compare=lambda: max(compare_models(ours, theirs, ragged) for ragged in batches),
        ours=our_steps(ours, batches, fused(ours)),
        theirs=their_steps(theirs, batches),
        flops=3 * forward_flops(batches),
        target=target,
        without=_without(ours, batches),
        figures={"fill": fill(batches)},
    )


def _without(ours: Encoder, batches: Sequence[Ragged]) -> dict[str, Callable[[], object]]:
    """Return our steps with one of their means taken away."""
    full = [
        Ragged.draw([max(ragged.packing.lengths)] * len(ragged.packing), DIM) for ragged in batches
    ]
    plain = make_ours("pre")
    plain.load_state_dict(ours.state_dict())
    use_torch_dropout(plain)
    optimizer = fused(ours)
    return {
        "packing": our_steps(ours, full, optimizer),
        "dropout": our_steps(plain, batches, fused(plain)),
        "optimiser": our_steps(ours, batches, AdamW(ours.parameters(), RATE)),
        "oneDNN": without_onednn(our_steps(ours, batches, optimizer)),
    }


def without_onednn(run: Callable[[], object]) -> Callable[[], object]:
    """Return the same with the products of float32 by the library that torch chooses."""

    def run_without() -> object:
        torch.backends.mkldnn.enabled = False
        try:
            return run()
        finally:
            torch.backends.mkldnn.enabled = True

    return run_without


def half_training(name: str, batches: Sequence[Ragged], steps: int) -> Contest:
    """Return the race of a training step with products in bfloat16 against the peer in float32.

    The parameters stay in float32 (`bf16-mixed`). The losses after `steps` steps show that
    nothing is learned less.
    """
    (ragged,) = batches
    ours, theirs = make_pair(norm="pre")
    their_half = make_theirs("pre")
    optimizer = AdamW(their_half.parameters(), RATE)

    def forward() -> Tensor:
        return in_half(lambda: apply_packed(ours, ragged))

    def compare() -> float:
        ours.eval()
        theirs.eval()
        outputs = forward().detach().float(), apply_padded(theirs, ragged).detach()
        ours.train()
        theirs.train()
        return require_equal("ours and theirs", *outputs, HALF_TOLERANCE)

    return Contest(
        name=name,
        peer="nn.TransformerEncoder in float32",
        data=describe(batches),
        compare=compare,
        ours=training_step(forward, fused(ours)),
        theirs=their_steps(theirs, batches),
        flops=3 * forward_flops(batches),
        others={
            "theirs in bfloat16": training_step(
                lambda: in_half(lambda: apply_padded(their_half, ragged)), optimizer
            )
        },
        figures={
            f"loss after {steps} steps, float32": final_loss(steps, half=False),
            f"loss after {steps} steps, bfloat16": final_loss(steps, half=True),
        },
        dtype=torch.bfloat16,
    )


def in_half(forward: Callable[[], Tensor]) -> Tensor:
    """Return an output computed with products in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return forward()


def final_loss(steps: int, *, half: bool) -> float:
    """Return the mean loss of the last tenth of a training that copies another function."""
    ours, _ = make_pair(norm="pre")
    optimizer = fused(ours)
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(DIM, DIM, generator=generator) / DIM**0.5
    losses = []
    for step in range(steps):
        (lengths,) = ragged_batches(1, 4, 8, 64, by_length=False, seed=step)
        ragged = Ragged.draw(lengths, DIM, seed=step)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = apply_packed(ours, ragged)
        loss = (out.float() - torch.tanh(ragged.packed @ teacher)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    last = losses[-max(steps // 10, 1) :]
    return sum(last) / len(last)


def inference(name: str, batches: Sequence[Ragged], norm: str, target: float) -> Contest:
    """Return the race against the peer's fast path, whose nested tensors need `post` norms."""
    ours, theirs = make_pair(norm=norm)
    ours.eval()
    theirs.eval()

    @torch.no_grad()
    def run_ours() -> list[Tensor]:
        return [apply_packed(ours, ragged) for ragged in batches]

    @torch.no_grad()
    def run_theirs() -> list[Tensor]:
        with warnings.catch_warnings():  # nested tensors are a prototype, torch says
            warnings.simplefilter("ignore", UserWarning)
            return [theirs(ragged.padded, src_key_padding_mask=~ragged.real) for ragged in batches]

    def real_of_theirs() -> Tensor:
        pairs = zip(run_theirs(), batches, strict=True)
        return torch.cat([out[ragged.real] for out, ragged in pairs])

    return Contest(
        name=name,
        peer="nn.TransformerEncoder, fast path",
        data=describe(batches),
        compare=compare_outputs(lambda: torch.cat(run_ours()), real_of_theirs),
        ours=run_ours,
        theirs=run_theirs,
        flops=forward_flops(batches),
        target=target,
        without={"oneDNN": without_onednn(run_ours)},
        figures={"fill": fill(batches)},
    )


def make_pair(norm: str) -> tuple[Encoder, nn.TransformerEncoder]:
    """Return our encoder and torch's with the same weights."""
    torch.manual_seed(0)
    ours, theirs = make_ours(norm), make_theirs(norm)
    for target, source in zip(ours.layers, theirs.layers, strict=True):
        copy_layer(cast(nn.TransformerEncoderLayer, source), cast(EncoderLayer, target))
    if theirs.norm is not None:
        ours.final_norm.load_state_dict(theirs.norm.state_dict())
    return ours, theirs


def make_ours(norm: str) -> Encoder:
    """Return our encoder, without positions, as torch's has none."""
    return Encoder(
        DIM,
        DEPTH,
        HEADS,
        position="none",
        norm="pre" if norm == "pre" else "post",
        feedforward="relu",
        feedforward_dim=INNER,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
    )


def make_theirs(norm: str) -> nn.TransformerEncoder:
    """Return torch's encoder; its nested tensors belong to the fast path of `post` norms."""
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, INNER, dropout=DROPOUT, batch_first=True, norm_first=norm == "pre"
    )
    final = nn.LayerNorm(DIM) if norm == "pre" else None
    return nn.TransformerEncoder(layer, DEPTH, norm=final, enable_nested_tensor=norm == "post")


def copy_layer(source: nn.TransformerEncoderLayer, target: EncoderLayer) -> None:
    """Give our layer the weights of torch's."""
    attention, mixer = source.self_attn, target.mixer
    names = {"weight": attention.in_proj_weight, "bias": attention.in_proj_bias}
    mixer.project_in.load_state_dict(names)  # type: ignore[union-attr]
    copy_linear(attention.out_proj, mixer.project_out)  # type: ignore[union-attr]
    assert target.feedforward is not None
    target.mixer_norm.load_state_dict(source.norm1.state_dict())
    target.feedforward_norm.load_state_dict(source.norm2.state_dict())
    copy_linear(source.linear1, target.feedforward.expand)
    copy_linear(source.linear2, target.feedforward.contract)


def compare_models(ours: Encoder, theirs: nn.TransformerEncoder, ragged: Ragged) -> float:
    """Return the largest difference of the outputs; gradients are compared too, no dropout.

    Raises:
        ValueError: if they differ.
    """
    first = cast(EncoderLayer, ours.layers[0]).feedforward
    assert first is not None
    other = cast(nn.TransformerEncoderLayer, theirs.layers[0]).linear1
    ours.eval()
    theirs.eval()
    difference = compare_gradients(
        lambda: apply_packed(ours, ragged),
        lambda: apply_padded(theirs, ragged),
        [(first.expand.weight, other.weight), (first.expand.bias, other.bias)],
    )()
    ours.train()
    theirs.train()
    return difference


def apply_packed(ours: Encoder, ragged: Ragged) -> Tensor:
    """Return our output. Shape: returns (T, D)."""
    return ours(ragged.packed, ragged.packing.offsets, packing=ragged.packing)


def apply_padded(theirs: nn.TransformerEncoder, ragged: Ragged) -> Tensor:
    """Return the real positions of torch's output. Shape: returns (T, D)."""
    out: Tensor = theirs(ragged.padded, src_key_padding_mask=~ragged.real)
    return out[ragged.real]


def our_steps(
    ours: Encoder, batches: Sequence[Ragged], optimizer: Optimizer
) -> Callable[[], object]:
    """Return our training step on each batch."""
    return training_steps(lambda ragged: apply_packed(ours, ragged), batches, optimizer)


def their_steps(theirs: nn.TransformerEncoder, batches: Sequence[Ragged]) -> Callable[[], object]:
    """Return torch's training step on each batch, with AdamW as it comes."""
    optimizer = AdamW(theirs.parameters(), RATE)
    return training_steps(lambda ragged: apply_padded(theirs, ragged), batches, optimizer)


def training_steps(
    forward: Callable[[Ragged], Tensor], batches: Sequence[Ragged], optimizer: Optimizer
) -> Callable[[], object]:
    """Return one training step after the other, on each batch."""
    steps = [training_step(partial(forward, ragged), optimizer) for ragged in batches]
    return lambda: [step() for step in steps]


def training_step(forward: Callable[[], Tensor], optimizer: Optimizer) -> Callable[[], None]:
    """Return one step: forward, loss, backward, optimiser."""

    def step() -> None:
        forward().float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def fused(model: nn.Module) -> Optimizer:
    """Return the optimiser as this library's heads make it."""
    return make_optimizer(model, RATE, 0.01, fused=True)


class TorchDropout(Dropout):
    """Ours with torch's own draws."""

    def _threshold(self, x: Tensor) -> None:
        return None


def use_torch_dropout(model: nn.Module) -> None:
    """Replace the dropout of every layer."""
    for module in list(model.modules()):
        if isinstance(getattr(module, "dropout", None), Dropout):
            module.dropout = TorchDropout(DROPOUT)


def forward_flops(batches: Sequence[Ragged]) -> float:
    """Return the useful operations of a forward pass of each batch: real positions only."""
    per_position = 8 * DIM**2 + 4 * DIM * INNER
    lengths = [n for ragged in batches for n in ragged.packing.lengths]
    return float(DEPTH * sum(n * (per_position + 4 * n * DIM) for n in lengths))


def fill(batches: Sequence[Ragged]) -> float:
    """Return the part of the padded batches that is real."""
    return sum(ragged.packing.total for ragged in batches) / sum(
        ragged.real.numel() for ragged in batches
    )


def describe(batches: Sequence[Ragged]) -> str:
    """Return the batches and the model in words."""
    sizes = [
        f"{len(lengths)} sequences of {min(lengths)} to {max(lengths)}"
        for lengths in (ragged.packing.lengths for ragged in batches)
    ]
    total = sum(ragged.packing.total for ragged in batches)
    return (
        f"{', '.join(sizes)}; {total} positions, fill {fill(batches):.2f}; "
        f"{DEPTH} layers, dim {DIM}, {HEADS} heads, {INNER} inside, dropout {DROPOUT}"
    )
