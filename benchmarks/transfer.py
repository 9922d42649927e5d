"""What pretraining on Python source is worth to `python_roles`, by the share of the labels.

Run as `python -m benchmarks.transfer`, or in pieces: `--labels 0.01 --seeds 1 --starts scratch`.
All runs share one recipe, that of configs/python_roles.yaml with fewer steps, and none looks at a
validation set: the weights after the last step are tested. They differ in where they start:

- scratch;
- causal: `init_from` a causal language model of characters, as configs/python_language_model.yaml
  but with the tagger's encoder. Its front-end is another, so the encoder's weights are taken only;
- masked: `init_from` a masked language model over the tagger's own token lists. Vocabulary,
  front-end and encoder are taken.

Both are pretrained without labels, on the whole training split. A share of the labels is a share
of the modules, chosen by the run's seed, which also draws the new weights and the batches.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, get_args

import yaml
from lightning.pytorch import Trainer, seed_everything

from benchmarks import record
from seqattn import SequenceData, TaskHead
from seqattn.checkpoint import SavedHead
from seqattn.data import Limit, Reader
from seqattn.recorded import Spec, build
from tasks.python_language_model import PythonSource
from tasks.python_roles import PythonRoles

Start = Literal["scratch", "causal", "masked"]

_CONFIGS = Path(__file__).parents[1] / "configs"
_STEPS = {0.01: 150, 0.1: 300}
_ALL_STEPS = 400
_PRETRAINED = ("causal", "masked")
_METRICS = ("context_accuracy", "context_macro_f1", "accuracy", "macro_f1")
_SHOWN = _METRICS[:2]


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain what is needed and not given, run, record each run and print means."""
    options = parse(arguments)
    folder = record.results_folder(options)
    command = record.command_line("transfer", arguments)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        checkpoints = options.checkpoints or Path(temporary)
        for start in options.starts:
            source = find_pretrained(start, checkpoints, command, folder, options)
            for labels in options.labels:
                for seed in options.seeds:
                    row = run(start, labels, seed, source, options)
                    record.write_rows(folder, "transfer", command, [row])
                    rows.append({"name": row.name, "figures": row.figures})
                    print(row.name, {name: row.figures[name] for name in _SHOWN}, flush=True)
    record.print_table(summarize(record.read_rows(folder, "transfer") or rows))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    starts = list(get_args(Start))
    parser.add_argument("--labels", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--starts", nargs="+", choices=starts, default=starts)
    parser.add_argument("--steps", type=int, help="150 for 1 %%, 300 for 10 %%, else 400")
    parser.add_argument("--pretraining-steps", type=int, default=2000)
    parser.add_argument("--causal", type=Path, help="checkpoint to start from; trained without")
    parser.add_argument("--masked", type=Path, help="checkpoint to start from; trained without")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder that keeps causal.ckpt and masked.ckpt from one piece to the next",
    )
    record.add_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.labels, options.seeds = [0.01], [1]
        options.steps = options.pretraining_steps = 2
    return options


def find_pretrained(
    start: Start, folder: Path, command: str, results: Path | None, options: argparse.Namespace
) -> Path | None:
    """Return the checkpoint to start from, pretrained now if there is none; None for scratch."""
    if start == "scratch":
        return None
    given: Path = getattr(options, start) or folder / f"{start}.ckpt"
    if not given.is_file():
        row = pretrain(start, given, options.pretraining_steps, quick=options.quick)
        record.write_rows(results, "transfer", command, [row])
        print(row.name, dict(row.figures), flush=True)
    return given


def pretrain(start: Start, path: Path, steps: int, *, quick: bool) -> record.Row:
    """Train a language model on the training split, write its checkpoint, and return its row."""
    spec = pretraining_spec(start)
    head, trainer = fit(spec, pretraining_reader(start, "train"), steps, seed=1)
    trainer.save_checkpoint(path)
    tested = test(trainer, head, shorten(pretraining_reader(start, "test"), quick=quick))
    return record.Row(
        name=f"pretraining {start}",
        model=describe(spec, head),
        data=f"standard library, training split without labels, {steps} steps",
        metric="seqattn.LanguageModel's, on the test split",
        seeds=[1],
        figures=tested,
    )


def pretraining_spec(start: Start) -> Spec:
    """Return the language model whose encoder, and for ``masked`` front-end, is the tagger's."""
    tagger = read_config("python_roles")["model"]["init_args"]
    arguments = {"learning_rate": tagger["learning_rate"], "warmup_steps": 100}
    frontend, encoder = tagger["frontend"], dict(tagger["encoder"]["init_args"])
    if start == "causal":
        frontend = read_config("python_language_model")["model"]["init_args"]["frontend"]
        encoder["pattern"] = "causal"
    arguments |= {
        "objective": start,
        "frontend": frontend,
        "encoder": {"class_path": "seqattn.Encoder", "init_args": encoder},
    }
    return {"class_path": "seqattn.LanguageModel", "init_args": arguments}


def pretraining_reader(start: Start, split: Literal["train", "test"]) -> Reader:
    """Return the text of a split: characters, or the tagger's token lists."""
    return PythonSource(split) if start == "causal" else PythonRoles(split)


def run(
    start: Start, labels: float, seed: int, source: Path | None, options: argparse.Namespace
) -> record.Row:
    """Train the tagger on a share of the labels and return its row."""
    spec = read_config("python_roles")["model"]
    if source is not None:
        SavedHead.read(source)  # its mistakes are the user's; say them before the data are read
        spec = {**spec, "init_args": {**spec["init_args"], "init_from": str(source)}}
    steps = options.steps or _STEPS.get(labels, _ALL_STEPS)
    reader = PythonRoles("train", fraction=labels, seed=seed)
    tokens = sum(len(example.source) for example in reader.read())
    head, trainer = fit(spec, reader, steps, seed)
    tested = test(trainer, head, shorten(PythonRoles("test"), quick=options.quick))
    return record.Row(
        name=f"labels {labels:g} start {start} seed {seed}",
        model=describe(spec, head),
        data=f"standard library: {labels:.0%} of the training modules, {tokens} labelled tokens, "
        f"{steps} steps; test split whole",
        metric="accuracy and macro F1 over the context roles, and over all",
        seeds=[seed],
        figures={name: tested[name] for name in _METRICS},
    )


def fit(spec: Spec, reader: Reader, steps: int, seed: int) -> tuple[TaskHead, Trainer]:
    """Return the head of a specification, trained, and its Trainer."""
    seed_everything(seed, verbose=False)
    head: TaskHead = build(spec, trust=("tasks",))
    budget = read_config("python_roles")["data"]["init_args"]["batch_tokens"]
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(head, datamodule=SequenceData(train=reader, batch_tokens=budget, seed=seed))
    return head, trainer


def test(trainer: Trainer, head: TaskHead, reader: Reader) -> dict[str, float]:
    """Return the metrics of a trained head on a reader's examples."""
    data = SequenceData(test=reader, batch_tokens=4096)
    (found,) = trainer.test(head, datamodule=data, verbose=False)
    return {name.removeprefix("test/"): float(value) for name, value in found.items()}


def shorten(reader: Reader, *, quick: bool) -> Reader:
    """Return a reader of a few examples for a quick run, else the same."""
    return Limit(reader, 20) if quick else reader


def describe(spec: Mapping[str, Any], head: TaskHead) -> str:
    """Return a line that tells the model from others."""
    encoder = head.encoder
    count = sum(parameter.numel() for parameter in head.parameters())
    name = str(spec["class_path"]).rpartition(".")[2]
    return f"{name}, dim {encoder.dim}, depth {len(encoder.layers)}, {count} parameters"


def read_config(name: str) -> dict[str, Any]:
    """Return one of configs/ as data."""
    config: dict[str, Any] = yaml.safe_load((_CONFIGS / f"{name}.yaml").read_text("utf-8"))
    return config


def summarize(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return mean and standard deviation over the seeds, a line per share and start."""
    groups: dict[str, list[Mapping[str, float]]] = {}
    for row in rows:
        name, is_run, _ = str(row["name"]).partition(" seed ")
        if is_run:
            groups.setdefault(name, []).append(row["figures"])
    lines: list[dict[str, object]] = []
    for name, figures in groups.items():
        line: dict[str, object] = {"run": name, "seeds": len(figures)}
        for metric in _SHOWN:
            values = [figure[metric] for figure in figures]
            spread = stdev(values) if len(values) > 1 else 0.0
            line[metric] = f"{mean(values):.4f} ± {spread:.4f}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
