"""What each layer of a trained `python_roles` tagger knows: a linear probe per layer.

Run as `python -m benchmarks.probe --checkpoint FILE`. The vectors are those of
`seqattn.hidden_states`, layer 0 the encoder's input. The probes are trained on modules of the
training split and tested on the test split, over the roles that only the context tells.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import record
from seqattn import Example, TaskHead, hidden_states, load
from tasks.python_roles import PythonRoles, is_context

_DECAY = 1e-4
"""Of the probe's squared weights, in the mean loss: the vectors have hundreds of columns."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe every layer, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="of configs/python_roles.yaml")
    parser.add_argument("--tokens", type=int, default=100_000, help="to train the probes on")
    parser.add_argument("--steps", type=int, default=100, help="of L-BFGS at most")
    parser.add_argument("--seed", type=int, default=1)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    train, test = PythonRoles("train", seed=options.seed), PythonRoles("test")
    train_examples = draw_examples(list(train.read()), options.tokens, options.seed)
    test_examples = list(test.read())
    if options.quick:
        train_examples, test_examples, options.steps = train_examples[:5], test_examples[:5], 3
    head = load(options.checkpoint, trust=("tasks",))
    figures = measure(head, train_examples, test_examples, options.steps)
    record.print_table([{"layer": name, **values} for name, values in figures.items()])
    rows = [
        record.Row(
            name=name,
            model=f"{type(head).__name__}, dim {head.encoder.dim}, "
            f"depth {len(head.encoder.layers)}; multinomial logistic regression on its vectors",
            data=f"standard library: {sum(len(e.source) for e in train_examples)} tokens of the "
            f"training split, {sum(len(e.source) for e in test_examples)} of the test split",
            metric="accuracy over the context roles on test; 1 is all",
            seeds=[options.seed],
            figures=values,
        )
        for name, values in figures.items()
    ]
    command = record.command_line("probe", arguments)
    record.write_rows(record.results_folder(options), "probe", command, rows)


def draw_examples(examples: Sequence[Example], tokens: int, seed: int) -> list[Example]:
    """Return random examples of about so many tokens together."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    chosen: list[Example] = []
    for index in order.tolist():
        if tokens <= 0:
            break
        chosen.append(examples[index])
        tokens -= len(examples[index].source)
    return chosen


def measure(
    head: TaskHead, train: Sequence[Example], test: Sequence[Example], steps: int
) -> dict[str, dict[str, float]]:
    """Return the context accuracy of a probe on each layer, and that of the head itself."""
    labels = torch.tensor(label_ids(head, train))
    expected = torch.tensor(label_ids(head, test))
    chosen = torch.tensor([is_context(role) for example in test for role in example.target])
    figures: dict[str, dict[str, float]] = {}
    for layer in range(len(head.encoder.layers) + 1):
        probe = train_probe(layer_vectors(head, train, layer), labels, head.num_labels, steps)
        found = probe(layer_vectors(head, test, layer)).argmax(-1)
        figures[f"layer {layer}"] = {
            "context accuracy": accuracy(found, expected, chosen),
            "accuracy": accuracy(found, expected, torch.ones_like(chosen)),
        }
    predicted = head.predict([example.source for example in test])
    own = [role for roles in predicted for role in roles]
    numbers = torch.tensor([head.labels.index(role) for role in own])
    figures["the head itself"] = {
        "context accuracy": accuracy(numbers, expected, chosen),
        "accuracy": accuracy(numbers, expected, torch.ones_like(chosen)),
    }
    return figures


def label_ids(head: TaskHead, examples: Sequence[Example]) -> list[int]:
    """Return the head's number of each label; -1 for one that it does not know."""
    numbers = {label: number for number, label in enumerate(head.labels)}
    return [numbers.get(role, -1) for example in examples for role in example.target]


def layer_vectors(head: TaskHead, examples: Sequence[Example], layer: int) -> Tensor:
    """Return one layer's vectors of all tokens. Shape: (T, D)."""
    found = hidden_states(head, [example.source for example in examples], [layer])
    return torch.cat([states[0] for states in found])


def accuracy(found: Tensor, expected: Tensor, chosen: Tensor) -> float:
    """Return the part of the chosen labels that was found. Shape: (T,) each, `chosen` bool."""
    return float((found == expected)[chosen].float().mean())


def train_probe(vectors: Tensor, labels: Tensor, num_labels: int, steps: int) -> nn.Module:
    """Return a linear classifier of standardised vectors, trained by L-BFGS on all of them.

    Shape:
        vectors (T, D); labels (T,) int64.
    """
    scale = nn.BatchNorm1d(vectors.shape[1], affine=False, momentum=None)
    standardised = scale(vectors)
    scale.eval()
    linear = nn.Linear(vectors.shape[1], num_labels)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(
        linear.parameters(), max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(standardised), labels, ignore_index=-1)
        loss = loss + _DECAY * linear.weight.square().sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return nn.Sequential(scale, linear).requires_grad_(False)


if __name__ == "__main__":
    main()
