"""The memory rows: what one forward and backward pass of a large input takes, in a fresh process.

`python -m benchmarks.race_memory NAME` prints the most memory that its process ever held, in GiB.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.race_data import Graphs
from seqattn.attention.layout import Layout
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.patterns import Edges, Window
from seqattn.packing import Packing

LIMIT = 8.0
"""GiB."""
_ROOT = Path(__file__).parents[1]


def peaks(*, quick: bool = False) -> dict[str, float]:
    """Return the peak of each input in GiB, each in a process of its own, on one thread."""
    return {name: _peak_of(name, quick=quick) for name in INPUTS}


def run_graph(*, quick: bool) -> None:
    """Attend along the edges of one large graph, with a learned bias."""
    nodes = 2_000 if quick else 200_000
    graphs = Graphs.draw([nodes], 10)
    attention = MultiHeadAttention(64, 4, pattern=Edges(), edge_weight="bias")
    weight = graphs.edge_weight.requires_grad_()
    layout = Layout(graphs.packing, edge_index=graphs.edge_index, edge_weight=weight)
    attention(torch.randn(nodes, 64, requires_grad=True), layout).sum().backward()


def run_frames(*, quick: bool) -> None:
    """Attend in a window of one long sequence."""
    frames = 1_024 if quick else 65_536
    attention = MultiHeadAttention(144, 4, pattern=Window(64, 64))
    layout = Layout(Packing.from_lengths([frames]))
    attention(torch.randn(frames, 144, requires_grad=True), layout).sum().backward()


INPUTS: dict[str, Callable[..., None]] = {
    "graph of 200,000 nodes and 2 million edges, d 64, 4 heads": run_graph,
    "sequence of 65,536 frames, window 128, d 144": run_frames,
}


def _peak_of(name: str, *, quick: bool) -> float:
    words = [sys.executable, "-m", "benchmarks.race_memory", name, *(["--quick"] if quick else [])]
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def peak_gib() -> float:
    """Return the most memory that this process held; Linux tells it, from its start on."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    torch.set_num_threads(1)
    INPUTS[sys.argv[1]](quick="--quick" in sys.argv)
    print(peak_gib())
