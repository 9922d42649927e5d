"""Row 2: the training step of `race_encoder` against transformers' `BertModel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from benchmarks.race_contest import Contest, compare_gradients, copy_linear
from benchmarks.race_data import Ragged
from benchmarks.race_encoder import (
    DEPTH,
    DIM,
    DROPOUT,
    HEADS,
    INNER,
    RATE,
    batches,
    describe,
    fill,
    forward_flops,
    fused,
    in_half,
    training_steps,
    without_onednn,
)
from seqattn import Encoder
from seqattn.layers.dropout import Dropout
from seqattn.packing import Packing


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the races on a batch drawn at random, and on a handful cut from a sorted pool."""
    random, by_length = batches(quick=quick)
    yield training("2 training, random batch", random, target=1.6)
    yield training("2 training, length-sorted batches", by_length, target=0.0)


def training(name: str, batches: Sequence[Ragged], target: float) -> Contest:
    """Return the race of a training step on each batch."""
    torch.manual_seed(0)
    ours, theirs = PackedBert(), make_bert()
    copy_bert(theirs, ours)
    optimizer, their_optimizer = fused(ours), AdamW(theirs.parameters(), RATE)

    def run_ours(ragged: Ragged) -> Tensor:
        out: Tensor = ours(ragged.packed, ragged.packing)
        return out

    def run_theirs(ragged: Ragged) -> Tensor:
        mask = ragged.real.long()
        out = theirs(inputs_embeds=ragged.padded, attention_mask=mask).last_hidden_state
        real: Tensor = out[ragged.real]
        return real

    def compare() -> float:
        pairs = [(partial(run_ours, ragged), partial(run_theirs, ragged)) for ragged in batches]
        return max(compare_gradients(*pair, weights)() for pair in pairs)

    run = training_steps(run_ours, batches, optimizer)
    inner = (ours.encoder.layers[0].feedforward.expand, theirs.encoder.layer[0].intermediate.dense)
    weights = [(inner[0].weight, inner[1].weight)]
    return Contest(
        name=name,
        peer="transformers BertModel, sdpa",
        data=describe(batches),
        compare=_without_dropout([ours, theirs], compare),
        ours=run,
        theirs=training_steps(run_theirs, batches, their_optimizer),
        flops=3 * forward_flops(batches),
        target=target,
        without={"oneDNN": without_onednn(run)},
        others={
            "ours in bfloat16": half_steps(run_ours, batches, optimizer),
            "theirs in bfloat16": half_steps(run_theirs, batches, their_optimizer),
        },
        figures={"fill": fill(batches)},
    )


def half_steps(
    forward: Callable[[Ragged], Tensor], batches: Sequence[Ragged], optimizer: Optimizer
) -> Callable[[], object]:
    """Return training steps with the products of the forward pass, and so all, in bfloat16."""
    return training_steps(lambda ragged: in_half(partial(forward, ragged)), batches, optimizer)


class PackedBert(nn.Module):
    """BERT over packed vectors: learned positions and a segment, normalised; then the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(64, DIM)
        self.segment = nn.Parameter(torch.zeros(DIM))
        self.norm = nn.LayerNorm(DIM)
        self.dropout = Dropout(DROPOUT)
        self.encoder: Any = Encoder(
            DIM,
            DEPTH,
            HEADS,
            position="none",
            norm="post",
            feedforward="gelu",
            feedforward_dim=INNER,
            dropout=DROPOUT,
            attention_dropout=DROPOUT,
        )
        for layer in self.encoder.layers:  # BERT drops after the feed-forward network only
            layer.feedforward.dropout = Dropout(0.0)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Return the encoded positions. Shape: x (T, D). returns: (T, D)."""
        x = self.norm(x + self.positions(packing.positions) + self.segment)
        out: Tensor = self.encoder(self.dropout(x), packing.offsets, packing=packing)
        return out


def make_bert() -> Any:
    """Return the peer, without its pooler."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        max_position_embeddings=64,
        layer_norm_eps=1e-5,
        vocab_size=8,
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False).train()


def copy_bert(theirs: Any, ours: PackedBert) -> None:
    """Give our model the weights of BERT."""
    embeddings = theirs.embeddings
    with torch.no_grad():
        ours.positions.weight.copy_(embeddings.position_embeddings.weight)
        ours.segment.copy_(embeddings.token_type_embeddings.weight[0])
    ours.norm.load_state_dict(embeddings.LayerNorm.state_dict())
    for source, target in zip(theirs.encoder.layer, ours.encoder.layers, strict=True):
        own = source.attention.self
        parts = [own.query, own.key, own.value]
        with torch.no_grad():
            target.mixer.project_in.weight.copy_(torch.cat([part.weight for part in parts]))
            target.mixer.project_in.bias.copy_(torch.cat([part.bias for part in parts]))
        copy_linear(source.attention.output.dense, target.mixer.project_out)
        target.mixer_norm.load_state_dict(source.attention.output.LayerNorm.state_dict())
        target.feedforward_norm.load_state_dict(source.output.LayerNorm.state_dict())
        copy_linear(source.intermediate.dense, target.feedforward.expand)
        copy_linear(source.output.dense, target.feedforward.contract)


def _without_dropout(models: list[Any], compare: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        for model in models:
            model.eval()
        try:
            return compare()
        finally:
            for model in models:
                model.train()

    return run
