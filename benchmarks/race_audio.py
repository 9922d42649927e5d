"""Row 10: a Conformer of this library's parts against torchaudio's, on ragged frames.

One layer of the Conformer (Gulati et al. 2020) is an encoder of two layers here: a feed-forward
network alone, then attention, convolution and another feed-forward network; its last norm is the
Conformer's. The half steps of the feed-forward networks are in their weights.

torchaudio's has a batch norm inside the convolution and SiLU in the feed-forward networks, which
no slot of ours computes. The peer is therefore torchaudio's class without the one and with GELU
for the other, so that both sides do the same; as shipped it runs beside. Outputs and gradients
are compared without dropout and on sequences of one length: on ragged ones torchaudio's
convolution reads what lies in the padding, so that a sequence's end depends on its batch-mates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.race_contest import Contest, compare_gradients, copy_linear
from benchmarks.race_data import Ragged, ragged_batches
from benchmarks.race_encoder import without_onednn
from seqattn import Encoder
from seqattn.layers.convolution import Convolution
from seqattn.layers.encoder_layer import EncoderLayer
from seqattn.packing import Packing

DIM, HEADS, DEPTH, INNER, KERNEL = 144, 4, 4, 576, 31
DROPOUT = 0.1


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the races of forward and backward, and of inference."""
    (lengths,) = ragged_batches(1, 2 if quick else 16, 50, 100, by_length=False)
    for backward, name in ((True, "training"), (False, "inference")):
        yield conformer(f"10 audio encoder, {name}", lengths, backward=backward)


def conformer(name: str, lengths: Sequence[int], *, backward: bool) -> Contest:
    """Return the race on sequences of these lengths."""
    ragged = Ragged.draw(lengths, DIM)
    torch.manual_seed(0)
    ours, theirs = PackedConformer(), make_theirs()
    copy_conformer(theirs, ours)
    make_the_same(theirs)
    shipped = make_theirs()
    for model in (ours, theirs, shipped):
        model.train(backward)
    run_ours = _run(lambda: ours(ragged.packed, ragged.packing), ours, backward)
    return Contest(
        name=name,
        peer="torchaudio Conformer without batch norm, GELU for SiLU",
        data=describe(ragged),
        compare=lambda: compare_models(ours, theirs),
        ours=run_ours,
        theirs=_run(lambda: apply_padded(theirs, ragged), theirs, backward),
        flops=(3 if backward else 1) * forward_flops(lengths),
        target=1.3 if backward else 0.0,
        without={"oneDNN": without_onednn(run_ours)},
        others={
            "Conformer as shipped": _run(lambda: apply_padded(shipped, ragged), shipped, backward)
        },
        figures={
            "fill": ragged.fill,
            "valid frames of a call": ragged.packing.total,
            "parameters, ours": count(ours),
            "parameters, theirs": count(theirs),
            "parameters, as shipped": count(shipped),
        },
    )


class PackedConformer(nn.Module):
    """Conformer layers of this library's parts, over packed frames."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make_layer() for _ in range(DEPTH))

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Return the encoded frames. Shape: x (T, D). returns: (T, D)."""
        for layer in self.layers:
            x = layer(x, packing.offsets, packing=packing)
        return x


def make_layer() -> Encoder:
    """Return one Conformer layer, without positions, as torchaudio's has none."""
    return Encoder(
        DIM,
        2,
        HEADS,
        mixer=["none", "attention_convolution"],
        position="none",
        feedforward="gelu",
        feedforward_dim=INNER,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
    )


def make_theirs() -> Any:
    """Return torchaudio's."""
    from torchaudio.models import Conformer

    return Conformer(DIM, HEADS, INNER, DEPTH, KERNEL, dropout=DROPOUT)


def make_the_same(theirs: Any) -> None:
    """Take the batch norm out of torchaudio's layers, and put GELU into their feed-forwards."""
    for layer in theirs.conformer_layers:
        layer.conv_module.sequential[3] = nn.Identity()
        for part in (layer.ffn1, layer.ffn2):
            part.sequential[2] = nn.GELU()


def copy_conformer(theirs: Any, ours: PackedConformer) -> None:
    """Give our model the weights of torchaudio's, the batch norms' left out."""
    for source, target in zip(theirs.conformer_layers, ours.layers, strict=True):
        encoder = cast(Encoder, target)
        first, second = (cast(EncoderLayer, layer) for layer in encoder.layers)
        copy_feedforward(source.ffn1, first)
        copy_feedforward(source.ffn2, second)
        second.mixer_norm.load_state_dict(source.self_attn_layer_norm.state_dict())
        attention, mixer = source.self_attn, second.mixer
        names = {"weight": attention.in_proj_weight, "bias": attention.in_proj_bias}
        mixer.project_in.load_state_dict(names)  # type: ignore[union-attr]
        copy_linear(attention.out_proj, mixer.project_out)  # type: ignore[union-attr]
        copy_convolution(source.conv_module, second)
        encoder.final_norm.load_state_dict(source.final_layer_norm.state_dict())


def copy_feedforward(source: Any, target: EncoderLayer) -> None:
    """Copy a feed-forward network; its half step goes into the weights."""
    norm, expand, _, _, contract, _ = source.sequential
    assert target.feedforward is not None
    target.feedforward_norm.load_state_dict(norm.state_dict())
    copy_linear(expand, target.feedforward.expand)
    halved = {name: 0.5 * value for name, value in contract.state_dict().items()}
    target.feedforward.contract.load_state_dict(halved)


def copy_convolution(source: Any, target: EncoderLayer) -> None:
    """Copy a convolution module; its pointwise convolutions are linear layers here."""
    first, _, depthwise, _, _, last, _ = source.sequential
    convolution = cast(Convolution, target.convolution)
    target.convolution_norm.load_state_dict(source.layer_norm.state_dict())
    for pointwise, linear in ((first, convolution.expand), (last, convolution.contract)):
        linear.load_state_dict({"weight": pointwise.weight[:, :, 0], "bias": pointwise.bias})
    convolution.depthwise.load_state_dict(depthwise.state_dict())


def compare_models(ours: PackedConformer, theirs: Any) -> float:
    """Return the largest difference of the outputs; gradients are compared too, no dropout.

    Raises:
        ValueError: if they differ.
    """
    full = Ragged.draw([70, 70], DIM)
    last = cast(EncoderLayer, cast(Encoder, ours.layers[0]).layers[1])
    convolution = cast(Convolution, last.convolution)
    other = theirs.conformer_layers[0]
    modes = ours.training, theirs.training
    ours.eval()
    theirs.eval()
    difference = compare_gradients(
        lambda: ours(full.packed, full.packing),
        lambda: apply_padded(theirs, full),
        [
            (last.mixer.project_in.weight, other.self_attn.in_proj_weight),  # type: ignore[union-attr]
            (convolution.depthwise.weight, other.conv_module.sequential[2].weight),
        ],
    )()
    ours.train(modes[0])
    theirs.train(modes[1])
    return difference


def apply_padded(theirs: Any, ragged: Ragged) -> Tensor:
    """Return the real frames of torchaudio's output. Shape: returns (T, D)."""
    out, _ = theirs(ragged.padded, torch.tensor(ragged.packing.lengths))
    real: Tensor = out[ragged.real]
    return real


def _run(forward: Callable[[], Tensor], model: nn.Module, backward: bool) -> Callable[[], object]:
    """Return a call of the model: forward and backward, or forward only."""

    def train() -> None:
        forward().square().mean().backward()
        model.zero_grad()

    def infer() -> Tensor:
        with torch.no_grad():
            return forward()

    return train if backward else infer


def forward_flops(lengths: Sequence[int]) -> float:
    """Return the useful operations of a forward pass: real frames only."""
    feedforward, attention = 2 * 4 * DIM * INNER, 8 * DIM**2
    convolution = 6 * DIM**2 + 2 * KERNEL * DIM
    per_frame = feedforward + attention + convolution
    return float(DEPTH * sum(n * (per_frame + 4 * n * DIM) for n in lengths))


def count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def describe(ragged: Ragged) -> str:
    """Return the batch and the model in words."""
    lengths = ragged.packing.lengths
    return (
        f"{len(lengths)} sequences of {min(lengths)} to {max(lengths)} frames, "
        f"{ragged.packing.total} in all, fill {ragged.fill:.2f}; {DEPTH} layers, dim {DIM}, "
        f"{HEADS} heads, {INNER} inside, kernel {KERNEL}, dropout {DROPOUT}"
    )
