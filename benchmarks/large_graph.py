"""Does neighbour sampling train on a graph of 200,000 nodes, and does memory stay flat?

Run as `python -m benchmarks.large_graph`. The graph is generated: ten classes, a million
undirected edges, most of them within a class, and 16 features per node that say little of the
class. A tenth of the nodes is labelled for training, another tenth tested. Two models of equal
width are trained for equal epochs: one reads two hops of sampled neighbours, the other features
alone.

Memory is the process's resident set: before training, its peak so far after each epoch, and by
how much that peak grew after the first epoch.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks import record
from benchmarks.race import one_thread
from seqattn import Edges, Encoder, Example, Graph, GraphFrontEnd, SequenceData, TokenLabeling
from seqattn.data import NeighborSampled, NodeSplit, Reader

_CLASSES, _FEATURES = 10, 16
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
    """Notes the peak of the resident set after every epoch of training, in MiB."""

    def __init__(self) -> None:
        self.before = 0.0
        self.peaks: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the peak of reading and fitting."""
        self.before = peak_memory()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the peak so far."""
        self.peaks.append(peak_memory())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both models, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_graph", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--edges", type=int, default=1_000_000, help="undirected")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--fanouts", type=int, nargs="+", default=[10, 5])
    parser.add_argument("--batch-nodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.nodes, options.edges, options.epochs = 2_000, 10_000, 2
    with one_thread():
        rows = [run(options, reads_edges=True), run(options, reads_edges=False)]
    record.print_table([{"model": row.name, **row.figures} for row in rows])
    command = record.command_line("large_graph", arguments)
    record.write_rows(record.results_folder(options), "large_graph", command, rows)


def run(options: argparse.Namespace, *, reads_edges: bool) -> record.Row:
    """Train a model and return its row."""
    seed_everything(options.seed, verbose=False)
    began, meter = time.process_time(), MemoryMeter()
    head = make_head(len(options.fanouts), reads_edges=reads_edges)
    # A model that reads no edges is given one neighbour, which it does not look at.
    fanouts = options.fanouts if reads_edges else [1]
    budget = most_nodes(options.batch_nodes, fanouts)  # of one example: equal steps for both
    blocks = BlockGraph(options.nodes, options.edges, seed=options.seed)
    train, test = (
        NeighborSampled(NodeSplit(blocks, split, 0.1, 0.1), fanouts, options.batch_nodes)
        for split in ("train", "val")  # nothing is chosen by the part val, so it can be the test
    )
    data = SequenceData(train, test=test, batch_tokens=budget, seed=options.seed)
    trainer = make_trainer(options.epochs, meter)
    trainer.fit(head, datamodule=data)
    (found,) = trainer.test(head, datamodule=data, verbose=False)
    return record.Row(
        name="two hops of neighbours" if reads_edges else "features alone",
        model=f"TokenLabeling, dim {head.encoder.dim}, depth {len(options.fanouts)}, "
        f"fan-outs {fanouts}",
        data=f"generated: {options.nodes} nodes, {2 * options.edges} directed edges, "
        f"{options.epochs} epochs of {options.nodes // 10} labelled nodes",
        metric=f"accuracy on {options.nodes // 10} other nodes; CPU seconds of it all; resident "
        "memory in MiB",
        seeds=[options.seed],
        figures={
            "accuracy": float(found["test/accuracy"]),
            "CPU seconds": time.process_time() - began,
            "memory before training, MiB": meter.before,
            "peak memory after each epoch, MiB": meter.peaks,
            "growth after the first epoch, MiB": meter.peaks[-1] - meter.peaks[0],
        },
    )


def most_nodes(seeds: int, fanouts: Sequence[int]) -> int:
    """Return how many nodes the neighbourhood of some seeds has at most."""
    total = frontier = seeds
    for fanout in fanouts:
        frontier *= fanout
        total += frontier
    return total


def make_head(depth: int, *, reads_edges: bool) -> TokenLabeling:
    """Return a labeller whose layers read neighbours, or each node alone."""
    if reads_edges:
        encoder = Encoder(32, depth, 4, pattern=Edges(), position="none", feedforward_dim=64)
    else:
        encoder = Encoder(32, depth, 4, mixer="none", position="none", feedforward_dim=64)
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


def peak_memory() -> float:
    """Return the most memory that this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
