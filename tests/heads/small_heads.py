"""Small heads, examples and trainers that the tests of heads, checkpoints and prediction share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from seqattn import (
    Encoder,
    Example,
    LanguageModel,
    SequenceClassification,
    TaskHead,
    TextFrontEnd,
    TokenLabeling,
)

WORDS = ["the", "old", "cat", "sat", "on", "a", "red", "mat"]
LABELS = ["DET", "ADJ", "NOUN", "VERB", "ADP", "DET", "ADJ", "NOUN"]
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def tagged(lengths: Sequence[int] = (5, 1, 3, 8, 2, 4)) -> list[Example]:
    """Token lists of these lengths, each with its labels."""
    return [
        Example(
            [WORDS[(i + j) % 8] for j in range(length)],
            [LABELS[(i + j) % 8] for j in range(length)],
            f"train:{i}",
        )
        for i, length in enumerate(lengths)
    ]


def labelled(texts: Sequence[str] = ("a cat", "the old mat", "sat on", "red")) -> list[Example]:
    """Strings, labelled by whether their number of words is even."""
    kinds = ["odd", "even"]
    return [
        Example(text, kinds[len(text.split()) % 2 == 0], f"train:{i}")
        for i, text in enumerate(texts)
    ]


def frontend(**arguments: Any) -> TextFrontEnd:
    return TextFrontEnd(**{"character_dim": 4, "token_length": 6, "dropout": 0.0, **arguments})


def encoder(**arguments: Any) -> Encoder:
    return Encoder(**{"dim": 16, "depth": 2, "heads": 2, "dropout": 0.0, **arguments})


def tagger(**arguments: Any) -> TokenLabeling:
    return TokenLabeling(frontend(), encoder(), **{"warmup_steps": 0, **arguments})


def classifier(**arguments: Any) -> SequenceClassification:
    return SequenceClassification(
        frontend(), encoder(), **{"warmup_steps": 0, "dropout": 0.0, **arguments}
    )


def language_model(**arguments: Any) -> LanguageModel:
    causal = arguments.get("objective", "causal") == "causal"
    return LanguageModel(
        frontend(units="character", begin=causal),
        encoder(pattern="causal" if causal else "full"),
        **{"warmup_steps": 0, **arguments},
    )


def build_on(head: TaskHead, examples: Sequence[Example]) -> Any:
    """Fit the vectorizers on examples and build the head, without a Trainer."""
    head.fit_vectorizers([e.source for e in examples], [e.target for e in examples])
    head.configure_model()
    return head


def trainer(**arguments: Any) -> Trainer:
    return Trainer(**{**QUIET, "max_epochs": 1, **arguments})


def loader(head: TaskHead, examples: Sequence[Example], **arguments: Any) -> DataLoader[Any]:
    return DataLoader(list(examples), collate_fn=head.collate, **{"batch_size": 2, **arguments})


def fit(head: Any, examples: Sequence[Example], **arguments: Any) -> Any:
    """Fit a head under a plain Trainer, and return it."""
    trainer(**arguments).fit(head, loader(head, examples))
    return head


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
