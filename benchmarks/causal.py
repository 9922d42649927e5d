"""How many times cheaper one causal pass is than running every prefix on its own.

Run as `python -m benchmarks.causal`. A causal encoder gives in one pass the loss of the next symbol
at every position, and its gradient; the same comes of L passes over the prefixes, each for its last
position. Loss and gradient are compared first, in float64.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import record
from benchmarks.race import gemm_peak, one_thread, race, require_equal
from seqattn import Encoder, SequenceBatch

_SYMBOLS = 96
_PACKED_TOKENS = 8192
_TOLERANCE = 1e-10


class NextSymbol(nn.Module):
    """Embedding, causal encoder and output layer over V symbols."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_SYMBOLS, dim)
        self.encoder = Encoder(dim, depth, heads=4, pattern="causal", dropout=0.0)
        self.output = nn.Linear(dim, _SYMBOLS)

    def losses(self, batch: SequenceBatch, targets: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss at every row, or at the rows named, of a batch of ids."""
        x = self.embedding(batch.values)  # (T, D)
        hidden = self.encoder(x, batch.offsets, packing=batch.packing)
        chosen = hidden if rows is None else hidden[rows]
        return F.cross_entropy(self.output(chosen), targets, reduction="none")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare gradients, race, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causal", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.lengths, options.dim, options.depth = [6, 9], 8, 1
    torch.manual_seed(options.seed)
    model = NextSymbol(options.dim, options.depth)
    shortest = min(options.lengths)
    with one_thread():
        difference = compare(model.double(), draw_text(shortest))
    model.float()
    seconds = record.seconds_of_race(options)
    peak = gemm_peak(seconds=seconds)
    rows = []
    for length in options.lengths:
        figures = measure(model, draw_text(length), seconds)
        figures |= {
            f"largest difference of gradients at L = {shortest}, float64": difference,
            "GEMM peak, GFLOP/s": peak,
        }
        rows.append(describe(length, options.dim, options.depth, options.seed, figures))
    names = [name for name in rows[0].figures if not name.startswith(("largest", "GEMM"))]
    record.print_table(
        [{"row": row.name, **{name: row.figures[name] for name in names}} for row in rows]
    )
    print(f"gradients agree within {difference:.1e} in float64 at L = {shortest}")
    command = record.command_line("causal", arguments)
    record.write_rows(record.results_folder(options), "causal", command, rows)


def describe(length: int, dim: int, depth: int, seed: int, figures: dict[str, float]) -> record.Row:
    """Return the row of one length."""
    return record.Row(
        name=f"L = {length}",
        model=f"causal Encoder, dim {dim}, depth {depth}, 4 heads, {_SYMBOLS} symbols, float32",
        data=f"one random text of {length} symbols",
        metric="CPU milliseconds for loss and gradient of all positions; prefixes one by one, or "
        f"packed into batches of at most {_PACKED_TOKENS} positions",
        seeds=[seed],
        figures=figures,
    )


def draw_text(length: int) -> Tensor:
    """Return random symbols, one more than inputs. Shape: (L + 1,) int64."""
    return torch.randint(_SYMBOLS, (length + 1,))


def measure(model: NextSymbol, text: Tensor, seconds: float) -> dict[str, float]:
    """Return milliseconds and ratios of one pass and of the prefixes. Shape: text (L + 1,)."""
    timings = race(
        {
            "one pass": lambda: with_gradient(model, lambda: one_pass(model, text)),
            "prefixes one by one": lambda: run_prefixes(model, text, 1),
            "prefixes packed": lambda: run_prefixes(model, text, _PACKED_TOKENS),
        },
        seconds=seconds,
    )
    best = {name: 1000 * timing.best for name, timing in timings.items()}
    return {
        **{f"{name}, ms": milliseconds for name, milliseconds in best.items()},
        "times cheaper": best["prefixes one by one"] / best["one pass"],
        "times cheaper than packed": best["prefixes packed"] / best["one pass"],
    }


def compare(model: NextSymbol, text: Tensor) -> float:
    """Return the largest difference of loss and gradient, computed in each way.

    Raises:
        ValueError: if they differ by more than rounding.
    """
    loss = with_gradient(model, lambda: one_pass(model, text))
    expected = gradients(model)
    largest = 0.0
    for tokens in (1, _PACKED_TOKENS):
        found = run_prefixes(model, text, tokens)
        largest = max(largest, require_equal("the loss", found, loss, _TOLERANCE))
        for name, gradient in gradients(model).items():
            largest = max(largest, require_equal(name, gradient, expected[name], _TOLERANCE))
    return largest


def one_pass(model: NextSymbol, text: Tensor) -> Tensor:
    """Return the summed loss of all positions. Shape: text (L + 1,). returns: ()."""
    batch = SequenceBatch.from_list([text[:-1]])
    return model.losses(batch, text[1:]).sum()


def run_prefixes(model: NextSymbol, text: Tensor, tokens: int) -> Tensor:
    """Return the same sum from every prefix's last position, and leave its gradient.

    Args:
        model: gets the gradient.
        text: Shape: (L + 1,).
        tokens: prefixes are packed together up to so many positions; 1 takes them one by one.
    """
    model.zero_grad()
    total = torch.zeros((), dtype=model.output.weight.dtype)
    for ends in split_prefixes(len(text) - 1, tokens):
        batch = SequenceBatch.from_list([text[:end] for end in ends])
        loss = model.losses(batch, text[ends], batch.offsets[1:] - 1).sum()
        torch.autograd.backward(loss)
        total += loss.detach()
    return total


def split_prefixes(count: int, tokens: int) -> list[list[int]]:
    """Return the lengths 1 … `count` in groups whose sums stay within `tokens` where they can."""
    groups: list[list[int]] = [[]]
    for length in range(1, count + 1):
        if groups[-1] and sum(groups[-1]) + length > tokens:
            groups.append([])
        groups[-1].append(length)
    return groups


def with_gradient(model: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """Return a loss, and leave its gradient alone in the model."""
    model.zero_grad()
    found = loss()
    torch.autograd.backward(found)
    return found.detach()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of all gradients by name."""
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


if __name__ == "__main__":
    main()
