from __future__ import annotations

import torch

from benchmarks.probe import accuracy, draw_examples, train_probe
from seqattn import Example


def test_a_probe_finds_labels_that_a_line_tells_apart() -> None:
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 100 + 7
    labels = (vectors[:, 1] > 7).long()
    labels[0] = -1  # a label that the head does not know

    found = train_probe(vectors, labels, num_labels=2, steps=50)(vectors).argmax(-1)

    assert float((found == labels)[1:].float().mean()) > 0.97


def test_accuracy_is_over_the_chosen_labels() -> None:
    found, expected = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 3, 4])

    assert accuracy(found, expected, torch.tensor([True, True, False, False])) == 0.5


def test_examples_are_drawn_until_they_hold_the_tokens() -> None:
    examples = [Example(["x"] * 10, key=str(number)) for number in range(9)]

    drawn = draw_examples(examples, tokens=25, seed=1)

    assert len(drawn) == len({example.key for example in drawn}) == 3
