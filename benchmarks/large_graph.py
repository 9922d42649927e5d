"""Does neighbour sampling train on a graph of 200,000 nodes, and does memory stay flat?

Run as `python -m benchmarks.large_graph`. The graph is generated: ten classes, a million
undirected edges, most of them within a class, and 16 features per node that say little of the
class. A tenth of the nodes is labelled for training, another tenth tested. Two models of equal
width are trained for equal epochs: one reads two hops of sampled neighbours, the other features
alone.

Memory is the resident set of a process that trains one model: before training, after each epoch,
and its peak. The process is started with fixed thresholds of glibc's allocator and without oneDNN's
cache of primitives: every micro-batch has another size, and by default both keep what was made for
the sizes before, some GiB in the end, though no tensor lives on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks import record
from benchmarks.race import one_thread
from seqattn import Edges, Encoder, Example, Graph, GraphFrontEnd, SequenceData, TokenLabeling
from seqattn.data import NeighborSampled, NodeSplit, Reader

Figures = Mapping[str, record.Figure]

NEIGHBOURS = "neighbours"
MODELS = [NEIGHBOURS, "features"]

_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**20),
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0",
}
_ROOT = Path(__file__).parents[1]
_CLASSES, _FEATURES, _DIM = 10, 16, 32
_WITHIN = 0.6
"""Part of the edges whose second end is drawn from the class of the first."""
_SIGNAL = 0.5
"""Distance of the class means, in standard deviations of a feature."""


class BlockGraph(Reader):
    """Gives one stochastic block graph with a noisy vector at each node.

    Args:
        nodes: n.
        edges: undirected ones; each is listed in both directions.
        seed: of everything that is drawn.
    """

    def __init__(self, nodes: int, edges: int, *, seed: int = 0) -> None:
        self.nodes = nodes
        self.edges = edges
        self.seed = seed

    def read(self) -> Iterator[Example]:
        """Yield the graph."""
        rng = np.random.default_rng(self.seed)
        labels = rng.integers(0, _CLASSES, self.nodes)
        means = rng.standard_normal((_CLASSES, _FEATURES), dtype=np.float32) * _SIGNAL
        noise = rng.standard_normal((self.nodes, _FEATURES), dtype=np.float32)
        pairs = draw_edges(labels, self.edges, rng)
        graph = Graph(
            self.nodes,
            np.concatenate([pairs, pairs[::-1]], axis=1),
            features=means[labels] + noise,
        )
        yield Example(graph, [str(label) for label in labels.tolist()], "blocks")


def draw_edges(
    labels: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return edges that begin anywhere and end in the same class, or anywhere. Shape: (2, E)."""
    nodes = len(labels)
    source, anywhere = rng.integers(0, nodes, (2, count))
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=_CLASSES)
    starts = sizes.cumsum() - sizes
    own = labels[source]
    places = starts[own] + (rng.random(count) * sizes[own]).astype(np.int64)
    is_within = rng.random(count) < _WITHIN
    return np.stack([source, np.where(is_within, by_class[places], anywhere)])


class MemoryMeter(Callback):
    """Notes the resident set before training and after every epoch, in MiB."""

    def __init__(self) -> None:
        self.before = 0.0
        self.after: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the data and the model take."""
        self.before = resident_memory()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is resident now."""
        self.after.append(resident_memory())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train each model in a process of its own, print and record."""
    options = parse(arguments)
    if options.only is not None:
        with one_thread():
            print(json.dumps(run(options, options.only)))
        return
    found = {name: run_apart(name, arguments) for name in MODELS}
    record.print_table([{"model": name, **figures} for name, figures in found.items()])
    rows = [make_row(options, name, figures) for name, figures in found.items()]
    command = record.command_line("large_graph", arguments)
    record.write_rows(record.results_folder(options), "large_graph", command, rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_graph", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--edges", type=int, default=1_000_000, help="undirected")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--fanouts", type=int, nargs="+", default=[10, 5])
    parser.add_argument("--batch-nodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=MODELS, help="train in this process; print, not record")
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.nodes, options.edges, options.epochs = 2_000, 10_000, 2
    return options


def run_apart(name: str, arguments: Sequence[str] | None) -> Figures:
    """Return the figures of a model that is trained in a fresh process.

    Raises:
        RuntimeError: if the process fails; with the end of what it said.
    """
    given = sys.argv[1:] if arguments is None else arguments
    words = [sys.executable, "-m", "benchmarks.large_graph", *given, "--only", name]
    environment = {**os.environ, **_ALLOCATOR}
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{name} must train, got exit code {done.returncode}: {done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def run(options: argparse.Namespace, name: str) -> Figures:
    """Train a model and return its figures."""
    seed_everything(options.seed, verbose=False)
    began, meter = time.process_time(), MemoryMeter()
    fanouts = fanouts_of(options, name)
    budget = most_nodes(options.batch_nodes, fanouts)  # of one example: equal steps for both
    blocks = BlockGraph(options.nodes, options.edges, seed=options.seed)
    train, test = (
        NeighborSampled(NodeSplit(blocks, split, 0.1, 0.1), fanouts, options.batch_nodes)
        for split in ("train", "val")  # nothing is chosen by the part val, so it can be the test
    )
    data = SequenceData(train, test=test, batch_tokens=budget, seed=options.seed)
    head = make_head(len(options.fanouts), name)
    trainer = make_trainer(options.epochs, meter)
    trainer.fit(head, datamodule=data)
    (found,) = trainer.test(head, datamodule=data, verbose=False)
    return {
        "accuracy": float(found["test/accuracy"]),
        "CPU seconds": time.process_time() - began,
        "memory before training, MiB": meter.before,
        "memory after each epoch, MiB": meter.after,
        "peak memory, MiB": peak_memory(),
        "growth after the first epoch, MiB": meter.after[-1] - meter.after[0],
    }


def make_row(options: argparse.Namespace, name: str, figures: Figures) -> record.Row:
    """Return what is recorded of a model."""
    labelled = options.nodes // 10
    return record.Row(
        name=name,
        model=f"TokenLabeling, dim {_DIM}, depth {len(options.fanouts)}, "
        f"fan-outs {fanouts_of(options, name)}",
        data=f"generated: {options.nodes} nodes, {2 * options.edges} directed edges, "
        f"{options.epochs} epochs of {labelled} labelled nodes",
        metric=f"accuracy on {labelled} other nodes; CPU seconds of it all; resident memory in MiB",
        seeds=[options.seed],
        figures=figures,
    )


def fanouts_of(options: argparse.Namespace, name: str) -> list[int]:
    """Return the fan-outs of a model; one that reads no edges is given one neighbour, unseen."""
    given: list[int] = options.fanouts
    return given if name == NEIGHBOURS else [1]


def most_nodes(seeds: int, fanouts: Sequence[int]) -> int:
    """Return how many nodes the neighbourhood of some seeds has at most."""
    total = frontier = seeds
    for fanout in fanouts:
        frontier *= fanout
        total += frontier
    return total


def make_head(depth: int, name: str) -> TokenLabeling:
    """Return a labeller whose layers read neighbours, or each node alone."""
    encoder = Encoder(_DIM, depth, 4, mixer="none", position="none", feedforward_dim=2 * _DIM)
    if name == NEIGHBOURS:
        encoder = Encoder(
            _DIM, depth, 4, pattern=Edges(), position="none", feedforward_dim=2 * _DIM
        )
    return TokenLabeling(GraphFrontEnd(), encoder, learning_rate=5e-3, warmup_steps=20)


def make_trainer(epochs: int, meter: MemoryMeter) -> Trainer:
    """Return a trainer that writes nothing."""
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[meter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def resident_memory() -> float:
    """Return the memory that this process holds now, in MiB; its peak where /proc is not."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return peak_memory()
    return int(path.read_text().split()[1]) * resource.getpagesize() / 2**20


def peak_memory() -> float:
    """Return the most memory that this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
