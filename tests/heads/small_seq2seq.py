"""Small sequence heads and examples that their tests share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from seqattn import Decoder, Encoder, Example, Seq2Seq
from tests.heads.small_heads import build_on, encoder, frontend
from tests.heads.small_sound import SampleFrontEnd

TEXTS = ("ab", "c", "bca", "", "aab")


def pairs(texts: Sequence[str] = TEXTS) -> list[Example]:
    """Texts and the same backwards."""
    return [Example(text, text[::-1], f"train:{i}") for i, text in enumerate(texts)]


def decoder(**arguments: Any) -> Decoder:
    return Decoder(**{"dim": 16, "depth": 2, "heads": 2, "dropout": 0.0, **arguments})


def unbuilt(made: Decoder | None = None, **arguments: Any) -> Seq2Seq:
    """A head from characters to characters, not fitted yet."""
    settings = {"target_units": "character", "warmup_steps": 0, "dropout": 0.0, "max_length": 8}
    made = decoder() if made is None else made
    return Seq2Seq(frontend(units="character"), encoder(), made, **{**settings, **arguments})


def writer(made: Decoder | None = None, **arguments: Any) -> Any:
    """The same, built on :func:`pairs`."""
    return build_on(unbuilt(made, **arguments), pairs())


def reader(targets: Sequence[Any] = ("a b", "b"), **arguments: Any) -> Any:
    """A head without decoder that reads words off single samples, built on these targets."""
    settings = {"target_units": "token", "warmup_steps": 0, **arguments}
    own = Encoder(16, 1, 2, mixer="none", position="none", dropout=0.0)
    head = Seq2Seq(SampleFrontEnd(), own, None, **settings)
    return build_on(head, sounds(targets))


def sounds(targets: Sequence[Any], samples: int = 8) -> list[Example]:
    """Sounds of this many samples, each with a target."""
    return [
        Example(([float(i + n) for n in range(samples)], 10), target, f"sound:{i}")
        for i, target in enumerate(targets)
    ]


def train(head: Any, examples: Sequence[Example], steps: int, rate: float = 0.01) -> list[float]:
    """Train a built head on one batch again and again; return its mean losses."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    batch = head.collate(examples)
    head.train()
    losses = []
    for _ in range(steps):
        total, weight = head.step(batch, "train").sums()
        optimizer.zero_grad()
        (total / weight).backward()
        optimizer.step()
        losses.append(float((total / weight).detach()))
    head.eval()
    return losses
