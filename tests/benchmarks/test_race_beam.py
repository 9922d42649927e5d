from __future__ import annotations

import importlib.util

import pytest
import torch

from benchmarks import race_beam


def test_the_law_ends_each_sentence_at_its_step() -> None:
    law = race_beam.Law(torch.tensor([1, 2]))
    logits = law.apply(torch.zeros(6, race_beam.END + 2), torch.tensor([1, 0, 1]), 2)
    assert (logits[:, race_beam.END] > 0).tolist() == [True, True, False, False, True, True]
    assert logits[:, race_beam.END + 1].tolist() == [0] * 6
    assert law.emitted == 3


def test_stops_are_thirteen_in_the_mean_and_the_last_at_twenty_four() -> None:
    steps = race_beam.draw_steps(32)
    assert float(steps.float().mean()) == race_beam.MEAN
    assert (int(steps.min()), int(steps.max())) == (2, race_beam.LONGEST)


def test_the_race_is_void_when_a_symbol_differs() -> None:
    scores = torch.zeros(1)
    with pytest.raises(ValueError, match=r"source 0 must agree, got \[3, 4\] and \[3, 5\]"):
        race_beam.compare(([[3, 4]], scores), ([[3, 5]], scores))


if importlib.util.find_spec("transformers"):  # the extra `bench`

    @pytest.mark.parametrize("steps", [None, torch.tensor([3, 5])])
    def test_both_sides_find_the_same(steps: torch.Tensor | None) -> None:
        sources, law = race_beam.draw_sources(2), race_beam.Law(steps)
        ours, theirs = (model.eval() for model in race_beam.make_pair())
        found = race_beam.search(ours, sources, law)
        difference = race_beam.compare(found, race_beam.generate(theirs, sources, law))
        assert difference < 1e-4
        wanted = [race_beam.LONGEST] * 2 if steps is None else (steps - 1).tolist()
        assert [len(symbols) for symbols in found[0]] == wanted
