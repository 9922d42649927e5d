from __future__ import annotations

import importlib.util

import pytest
import torch

from benchmarks.race_decoder import BEGIN, END, Translations, forward_flops

if importlib.util.find_spec("transformers"):  # the extra `bench`

    @pytest.mark.filterwarnings("ignore")
    def test_bart_computes_the_same() -> None:
        from benchmarks import race_decoder

        for found in race_decoder.contests(quick=True):
            assert found.compare() < 1e-4
            found.ours()
            found.theirs()


def test_a_target_is_read_from_begin_and_written_to_end() -> None:
    batch = Translations.draw([(2, 3), (4, 1)])

    assert batch.source.packing.lengths == (2, 4)
    assert batch.read.packing.lengths == batch.written.packing.lengths == (3, 1)
    read, written = batch.read.packed, batch.written.packed
    assert read[[0, 3]].tolist() == [BEGIN, BEGIN]
    assert written[[2, 3]].tolist() == [END, END]
    assert torch.equal(read[1:3], written[:2])
    assert (batch.labels[1] == -100).tolist() == [False, True, True]


def test_operations_are_counted_on_real_positions_only() -> None:
    alone = [Translations.draw([size]) for size in ((6, 24), (24, 6))]
    together = Translations.draw([(6, 24), (24, 6)])
    assert forward_flops([together]) == sum(forward_flops([batch]) for batch in alone)
