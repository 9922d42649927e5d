"""Row 5: the training step of a sequence-to-sequence model against transformers' BART.

Both sides have the same weights: one embedding for source, target and output, learned positions,
normalised after each branch. A step is forward, cross-entropy of the real target symbols, backward
and AdamW. Logits and gradients are compared without dropout. BART drops the embedded positions
after their normalisation, ours drops the embedding of the target before it: as many draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from benchmarks.race_contest import Contest, compare_gradients, copy_linear
from benchmarks.race_encoder import fused, without_onednn
from seqattn import Decoder, Encoder
from seqattn.attention.linear import linear
from seqattn.layers.dropout import Dropout
from seqattn.packing import Packing

DIM, HEADS, DEPTH, INNER, SYMBOLS = 256, 4, 3, 1024, 8000
DROPOUT, RATE = 0.1, 1e-4
POSITIONS = 64
BEGIN, END, PADDING = 0, 1, 2
_FIRST_SYMBOL = 3
_OFFSET = 2
"""Rows of BART's table of positions that no position uses."""
_IGNORED = -100
"""What transformers takes for a label that does not count."""


@dataclass(frozen=True)
class Sentences:
    """Symbols of sources or targets, packed and padded.

    Args:
        packing: their layout.
        packed: Shape: (T,).
        padded: Shape: (B, L).
        real: where there is no padding. Shape: (B, L) bool.
    """

    packing: Packing
    packed: Tensor
    padded: Tensor
    real: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Sentences:
        """Pack and pad these rows."""
        packing = Packing.from_lengths([len(row) for row in rows])
        padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=PADDING)
        real = torch.arange(padded.shape[1]) < torch.tensor(packing.lengths)[:, None]
        return cls(packing, torch.cat(list(rows)), padded, real)


@dataclass(frozen=True)
class Translations:
    """A batch of pairs: the source, BEGIN y1 … yn, and y1 … yn END."""

    source: Sentences
    read: Sentences
    written: Sentences

    @classmethod
    def draw(cls, sizes: Sequence[tuple[int, int]], seed: int = 0) -> Translations:
        """Draw pairs of these lengths, END included in the target's."""
        generator = torch.Generator().manual_seed(seed)

        def symbols(count: int) -> Tensor:
            return torch.randint(_FIRST_SYMBOL, SYMBOLS, (count,), generator=generator)

        sources = [symbols(length) for length, _ in sizes]
        targets = [symbols(length - 1) for _, length in sizes]
        read = [torch.cat([torch.tensor([BEGIN]), row]) for row in targets]
        written = [torch.cat([row, torch.tensor([END])]) for row in targets]
        return cls(Sentences.of(sources), Sentences.of(read), Sentences.of(written))

    @property
    def labels(self) -> Tensor:
        """What transformers is to give. Shape: (B, L)."""
        return self.written.padded.masked_fill(~self.written.real, _IGNORED)


def contests(*, quick: bool = False) -> Iterator[Contest]:
    """Yield the races on a batch drawn at random, and on three cut from a pool sorted by source."""
    size = 4 if quick else 64
    yield training("5 training, random batch", [Translations.draw(draw_sizes(size))], target=1.6)
    pool = sorted(draw_sizes(20 * size))
    chosen = [pool[number * size : (number + 1) * size] for number in (2, 10, 18)]
    by_length = [Translations.draw(sizes) for sizes in chosen]
    yield training("5 training, source-sorted batches", by_length, target=0.0)


def draw_sizes(count: int) -> list[tuple[int, int]]:
    """Return lengths of pairs, both sides 6 to 24 and independent."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(6, 25, (count, 2), generator=generator)
    return [(source, target) for source, target in drawn.tolist()]


def training(name: str, batches: Sequence[Translations], target: float) -> Contest:
    """Return the race of a training step on each batch."""
    ours, theirs = make_pair()

    def run_ours(batch: Translations) -> Tensor:
        out: Tensor = ours(
            batch.source.packed, batch.source.packing, batch.read.packed, batch.read.packing
        )
        return out

    def run_theirs(batch: Translations) -> Any:
        return theirs(
            input_ids=batch.source.padded,
            attention_mask=batch.source.real.long(),
            decoder_input_ids=batch.read.padded,
            labels=batch.labels,
            use_cache=False,
        )

    def our_loss(batch: Translations) -> Tensor:
        return F.cross_entropy(run_ours(batch), batch.written.packed)

    def their_loss(batch: Translations) -> Tensor:
        loss: Tensor = run_theirs(batch).loss
        return loss

    run = steps(our_loss, batches, fused(ours))
    return Contest(
        name=name,
        peer="transformers BartForConditionalGeneration, sdpa",
        data=describe(batches),
        compare=lambda: max(compare(ours, theirs, run_ours, run_theirs, b) for b in batches),
        ours=run,
        theirs=steps(their_loss, batches, AdamW(theirs.parameters(), RATE)),
        flops=3 * forward_flops(batches),
        target=target,
        without={"oneDNN": without_onednn(run)},
        figures={"fill": fill(batches)},
    )


def compare(
    ours: PackedBart,
    theirs: Any,
    run_ours: Callable[[Translations], Tensor],
    run_theirs: Callable[[Translations], Any],
    batch: Translations,
) -> float:
    """Return the largest difference of the logits; gradients are compared too, no dropout.

    Raises:
        ValueError: if they differ.
    """
    first: Any = ours.decoder.layers[0]
    other = theirs.model.decoder.layers[0]
    wanted = [
        (ours.embedding.weight, theirs.model.shared.weight),
        (first.cross.project_query.weight, other.encoder_attn.q_proj.weight),
    ]
    for model in (ours, theirs):
        model.eval()
    difference = compare_gradients(
        partial(run_ours, batch), lambda: run_theirs(batch).logits[batch.read.real], wanted
    )()
    for model in (ours, theirs):
        model.train()
    return difference


def steps(
    loss: Callable[[Translations], Tensor], batches: Sequence[Translations], optimizer: Optimizer
) -> Callable[[], object]:
    """Return one training step after the other, on each batch."""

    def run() -> None:
        for batch in batches:
            loss(batch).backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


class PackedBart(nn.Module):
    """BART over packed symbols, made of this library's encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, DIM)
        self.positions = nn.Embedding(POSITIONS, DIM)
        self.norm = nn.LayerNorm(DIM)
        self.dropout = Dropout(DROPOUT)
        self.encoder = Encoder(
            *(DIM, DEPTH, HEADS),
            position="none",
            norm="post",
            feedforward_dim=INNER,
            dropout=DROPOUT,
        )
        self.decoder = Decoder(
            *(DIM, DEPTH, HEADS),
            position="learned",
            max_length=POSITIONS,
            norm="post",
            feedforward_dim=INNER,
            dropout=DROPOUT,
            embedding_norm=True,
        )
        layer: Any
        for layer in (*self.encoder.layers, *self.decoder.layers):
            layer.feedforward.dropout = Dropout(0.0)  # BART drops after the network only

    def forward(
        self, source: Tensor, source_packing: Packing, read: Tensor, packing: Packing
    ) -> Tensor:
        """Return the logits of every target position. Shape: source (T,); read (T_y,)."""
        memory = self.encode(source, source_packing)
        out = self.decoder(
            *(self.dropout(self.embedding(read)), packing.offsets, memory, source_packing.offsets),
            packing=packing,
            memory_packing=source_packing,
        )
        return self.logits(out)

    def encode(self, source: Tensor, packing: Packing) -> Tensor:
        """Return the memory of packed sources. Shape: source (T,). returns: (T, D)."""
        x = self.norm(self.embedding(source) + self.positions(packing.positions))
        out: Tensor = self.encoder(self.dropout(x), packing.offsets, packing=packing)
        return out

    def logits(self, x: Tensor) -> Tensor:
        """Return the scores of the symbols. Shape: x (N, D). returns: (N, V)."""
        return linear(x, self.embedding.weight)


def make_pair() -> tuple[PackedBart, Any]:
    """Return our model and BART with the same weights."""
    torch.manual_seed(0)
    ours, theirs = PackedBart(), make_bart()
    copy_bart(theirs, ours)
    return ours, theirs


def make_bart() -> Any:
    """Return the peer."""
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=SYMBOLS,
        d_model=DIM,
        encoder_layers=DEPTH,
        decoder_layers=DEPTH,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        max_position_embeddings=POSITIONS,
        dropout=DROPOUT,
        pad_token_id=PADDING,
        bos_token_id=BEGIN,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
        attn_implementation="sdpa",
    )
    return BartForConditionalGeneration(config).train()


def copy_bart(theirs: Any, ours: PackedBart) -> None:
    """Give our model the weights of BART."""
    encoder, decoder = theirs.model.encoder, theirs.model.decoder
    table: Any = ours.decoder.added["learned"]
    with torch.no_grad():
        ours.embedding.weight.copy_(theirs.model.shared.weight)
        ours.positions.weight.copy_(encoder.embed_positions.weight[_OFFSET:])
        table.table.weight.copy_(decoder.embed_positions.weight[_OFFSET:])
    ours.norm.load_state_dict(encoder.layernorm_embedding.state_dict())
    ours.decoder.input_norm.load_state_dict(decoder.layernorm_embedding.state_dict())
    target: Any
    for source, target in zip(encoder.layers, ours.encoder.layers, strict=True):
        copy_layer(source, target)
    for source, target in zip(decoder.layers, ours.decoder.layers, strict=True):
        copy_layer(source, target)
        cross, read = source.encoder_attn, target.cross
        copy_linear(cross.q_proj, read.project_query)
        copy_side_by_side([cross.k_proj, cross.v_proj], read.project_memory)
        copy_linear(cross.out_proj, read.project_out)
        target.cross_norm.load_state_dict(source.encoder_attn_layer_norm.state_dict())


def copy_layer(source: Any, target: Any) -> None:
    """Copy self-attention and feed-forward network with their norms."""
    own = source.self_attn
    copy_side_by_side([own.q_proj, own.k_proj, own.v_proj], target.mixer.project_in)
    copy_linear(own.out_proj, target.mixer.project_out)
    copy_linear(source.fc1, target.feedforward.expand)
    copy_linear(source.fc2, target.feedforward.contract)
    target.mixer_norm.load_state_dict(source.self_attn_layer_norm.state_dict())
    target.feedforward_norm.load_state_dict(source.final_layer_norm.state_dict())


def copy_side_by_side(sources: Sequence[nn.Linear], target: nn.Linear) -> None:
    """Copy several linear layers of one input into one."""
    with torch.no_grad():
        target.weight.copy_(torch.cat([source.weight for source in sources]))
        target.bias.copy_(torch.cat([source.bias for source in sources]))


def forward_flops(batches: Sequence[Translations]) -> float:
    """Return the useful operations of a forward pass of each batch: real positions only."""
    total, layer = 0, 8 * DIM**2 + 4 * DIM * INNER
    for batch in batches:
        sides = (batch.source.packing.lengths, batch.read.packing.lengths)
        for m, n in zip(*sides, strict=True):
            encoder = m * (layer + 4 * m * DIM)
            decoder = n * (layer + 4 * DIM**2 + 2 * n * DIM + 4 * m * DIM) + 4 * m * DIM**2
            total += DEPTH * (encoder + decoder) + 2 * n * DIM * SYMBOLS
    return float(total)


def fill(batches: Sequence[Translations]) -> float:
    """Return the part of the padded batches that is real, both sides together."""
    sides = [side for batch in batches for side in (batch.source, batch.read)]
    return sum(side.packing.total for side in sides) / sum(side.real.numel() for side in sides)


def describe(batches: Sequence[Translations]) -> str:
    """Return the batches and the model in words."""
    sizes = [
        f"{len(batch.source.packing)} pairs, sources of {min(batch.source.packing.lengths)} to "
        f"{max(batch.source.packing.lengths)}, targets of {min(batch.read.packing.lengths)} to "
        f"{max(batch.read.packing.lengths)}"
        for batch in batches
    ]
    return (
        f"{'; '.join(sizes)}; fill {fill(batches):.2f}; {DEPTH} + {DEPTH} layers, dim {DIM}, "
        f"{HEADS} heads, {INNER} inside, {SYMBOLS} symbols, dropout {DROPOUT}"
    )
