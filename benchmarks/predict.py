"""Tokens per second of `head.predict`, against the same weights in padded batches.

Run as `python -m benchmarks.predict`. The sentences are those of a CoNLL-U file where there is one,
else words made up, with lengths as skewed as a treebank's. All sides begin with lists of words and
end with lists of label names.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader

from benchmarks import record
from benchmarks.padded_tagger import PaddedTagger
from benchmarks.race import gemm_peak, one_thread, race, require_equal
from seqattn import Encoder, Example, SequenceBatch, TextFrontEnd, TokenLabeling, load
from seqattn.data import Conllu

Batches = list[list[int]]

_PADDED_BATCH = 32
_TOLERANCE = 1e-4
_TREEBANK = "ud_english_ewt/en_ewt-ud-train.conllu"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the outputs, race, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--checkpoint", help="of a tagger of words; one is trained without")
    parser.add_argument("--data", type=Path, help="CoNLL-U file; words are made up without")
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=192, help="of the tagger that is trained")
    parser.add_argument("--depth", type=int, default=3, help="of the tagger that is trained")
    parser.add_argument("--seed", type=int, default=1)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    count = 60 if options.quick else options.sentences
    dim, depth = (16, 1) if options.quick else (options.dim, options.depth)
    treebank = None if options.quick else options.data or find_treebank()
    examples = read_examples(treebank, count, options.seed)
    if options.checkpoint:
        head = require_tagger(load(options.checkpoint, trust=("tasks",)))
    else:
        head = train_tagger(examples, dim, depth, options.seed, steps=2 if options.quick else 20)
    figures = measure(
        head,
        [example.source for example in examples],
        options.seed,
        record.seconds_of_race(options),
    )
    command = record.command_line("predict", arguments)
    encoder = head.encoder
    row = record.Row(
        name=treebank.name if treebank else "made-up words",
        model=f"TokenLabeling, words with characters, dim {encoder.dim}, "
        f"depth {len(encoder.layers)}, {sum(p.numel() for p in head.parameters())} parameters",
        data=f"{count} sentences" + (f" of {treebank.name}" if treebank else ", words made up"),
        metric="tokens per CPU second, from lists of words to lists of labels; ratio to the same "
        f"weights in padded batches of {_PADDED_BATCH}, random or sorted by length",
        seeds=[options.seed],
        figures=figures,
    )
    record.print_table([{"figure": name, "value": value} for name, value in figures.items()])
    record.write_rows(record.results_folder(options), "predict", command, [row])


def find_treebank() -> Path | None:
    """Return the treebank among the public data sets, if they are there."""
    path = Path(os.environ.get("SEQATTN_DATA", "../shared/data")) / _TREEBANK
    return path if path.is_file() else None


def read_examples(treebank: Path | None, count: int, seed: int) -> list[Example]:
    """Return sentences of a treebank, drawn by the seed, or made-up ones.

    Raises:
        ValueError: if the treebank has fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    if treebank is None:
        return make_sentences(count, generator)
    examples = list(Conllu(str(treebank), "upos").read())
    if len(examples) < count:
        raise ValueError(f"{treebank} must have {count} sentences, got {len(examples)}")
    return [examples[i] for i in torch.randperm(len(examples), generator=generator)[:count]]


def make_sentences(count: int, generator: torch.Generator) -> list[Example]:
    """Return sentences of made-up words, each labelled by its last letter.

    Lengths are log-normal, skewed as those of a treebank of web text: 15 words in the mean, a
    tenth above 30, none above 160. Few words are frequent, as by Zipf's law.
    """
    letters = torch.randint(97, 123, (5000, 12), generator=generator)
    sizes = torch.randint(2, 13, (5000,), generator=generator).tolist()
    words = [
        "".join(map(chr, row[:size])) for row, size in zip(letters.tolist(), sizes, strict=True)
    ]
    lengths = (torch.randn(count, generator=generator) * 0.8 + 2.39).exp().round().clamp(1, 160)
    chances = 1 / torch.arange(1, len(words) + 1)
    drawn = torch.multinomial(chances, int(lengths.sum()), replacement=True, generator=generator)
    examples: list[Example] = []
    for ids in torch.split(drawn, lengths.int().tolist()):
        sentence = [words[index] for index in ids.tolist()]
        examples.append(Example(sentence, [word[-1] for word in sentence], str(len(examples))))
    return examples


def train_tagger(
    examples: Sequence[Example], dim: int, depth: int, seed: int, steps: int
) -> TokenLabeling:
    """Return a tagger after a few steps: it knows its words, and speed asks for no more."""
    seed_everything(seed, verbose=False)
    head = TokenLabeling(
        TextFrontEnd("word", dropout=0.0), Encoder(dim, depth, heads=4), warmup_steps=0
    )
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Example] = DataLoader(
        list(examples),  # type: ignore[arg-type]  # a list is a data set to DataLoader
        collate_fn=head.collate,
        batch_size=_PADDED_BATCH,
        num_workers=0,
    )
    with one_thread():
        trainer.fit(head, loader)
    return require_tagger(head)


def require_tagger(head: object) -> TokenLabeling:
    """Return the head, for prediction.

    Raises:
        TypeError: if it labels no tokens.
    """
    if not isinstance(head, TokenLabeling):
        raise TypeError(f"the checkpoint must hold a TokenLabeling, got {type(head).__name__}")
    return head.eval()


def measure(
    head: TokenLabeling, sentences: list[list[str]], seed: int, seconds: float
) -> dict[str, float]:
    """Return tokens per second of both sides, compared first."""
    padded = PaddedTagger(head)
    shuffled, by_length = batch_randomly(sentences, seed), batch_by_length(sentences)
    total = sum(map(len, sentences))
    difference = compare_logits(head, padded, sentences[:256])
    runs: dict[str, Callable[[], list[list[str]]]] = {
        "packed": lambda: head.predict(sentences),
        "padded": lambda: padded.predict(sentences, shuffled),
        "padded, sorted": lambda: padded.predict(sentences, by_length),
    }
    with one_thread():
        differing = count_differing(runs["packed"](), runs["padded"]())
    timings = race(runs, seconds=seconds)
    speeds = {name: total / timing.best for name, timing in timings.items()}
    return {
        "tokens": float(total),
        **{f"{name}, tokens/s": speed for name, speed in speeds.items()},
        "ratio to padded": speeds["packed"] / speeds["padded"],
        "ratio to padded, sorted": speeds["packed"] / speeds["padded, sorted"],
        "filled part of padded": fill(sentences, shuffled),
        "filled part of padded, sorted": fill(sentences, by_length),
        "largest difference of logits": difference,
        "labels that differ": float(differing),
        "GEMM peak, GFLOP/s": gemm_peak(seconds=seconds),
    }


def batch_randomly(sentences: Sequence[list[str]], seed: int) -> Batches:
    """Return batches of random sentences."""
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))
    return [part.tolist() for part in torch.split(order, _PADDED_BATCH)]


def batch_by_length(sentences: Sequence[list[str]]) -> Batches:
    """Return batches of sentences of similar length."""
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    return [order[i : i + _PADDED_BATCH] for i in range(0, len(order), _PADDED_BATCH)]


def fill(sentences: Sequence[list[str]], batches: Batches) -> float:
    """Return the part of the padded slots that hold a word."""
    slots = sum(len(batch) * max(len(sentences[i]) for i in batch) for batch in batches)
    return sum(map(len, sentences)) / slots


@torch.inference_mode()
def compare_logits(head: TokenLabeling, padded: PaddedTagger, sentences: list[list[str]]) -> float:
    """Return the largest difference of the logits of the same sentences, both ways."""
    batch: SequenceBatch = head.collate([Example(sentence) for sentence in sentences])
    packed = head(batch.replace(targets=None)).logits  # (T, V)
    cells, lengths = padded.collate(sentences)
    real = torch.arange(cells.shape[1]) < lengths[:, None]  # (B, L)
    return require_equal("both taggers", padded.logits(cells, lengths)[real], packed, _TOLERANCE)


def count_differing(found: list[list[str]], expected: list[list[str]]) -> int:
    """Return how many labels differ: those whose two best logits rounding decides.

    Raises:
        ValueError: if more than one in 10,000 differ.
    """
    pairs = [pair for a, b in zip(found, expected, strict=True) for pair in zip(a, b, strict=True)]
    differing = sum(a != b for a, b in pairs)
    if differing * 10_000 > len(pairs):
        raise ValueError(f"labels must agree, got {differing} of {len(pairs)} that differ")
    return differing


if __name__ == "__main__":
    main()
