"""Scores a corpus in two processes and saves what came of it; what test_sequences runs."""

from __future__ import annotations

import torch
import torch.distributed as dist

from seqattn.metrics.error_rates import ErrorRate
from seqattn.metrics.overlap import Bleu, Chrf, Rouge
from seqattn.metrics.sequences import ExactMatch, SequenceMetric

CORPUS = [
    (["the", "cat", "sat", "on", "a", "mat"], ["the", "cat", "sat", "on", "the", "mat"]),
    (["a", "dog"], (["the", "dog"], ["a", "dog", "barks"])),
    ([], ["nothing"]),
    (["it", "is", "so", "good", "it", "is"], ["it", "is", "so", "good"]),
    (["well"], []),
]


def metrics() -> list[SequenceMetric]:
    return [ExactMatch(), ErrorRate("token"), Bleu(), Chrf(), Rouge("1"), Rouge("L")]


def main(store: str, path: str, rank: int) -> None:
    """Score every second example; process 0 saves the values, which both have."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = []
    for metric in metrics():
        for prediction, reference in CORPUS[rank::2]:
            metric.update([prediction], [reference])
        found.append(float(metric.compute()))
    if rank == 0:
        torch.save(found, path)
    dist.destroy_process_group()
