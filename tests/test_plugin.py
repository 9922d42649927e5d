"""seqattn in other people's scripts: a stock CLI, a plain Trainer, another module, their heads."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader

import seqattn
from seqattn import Encoder, Example, SequenceBatch
from seqattn.cli import main
from tests.heads.small_heads import QUIET, encoder, fit, frontend, labelled, loader, tagged, trainer

HEADS = '''
import torch
from torch import nn
from seqattn import LanguageModel, SequenceClassification, TokenLabeling
from seqattn.heads.output import Loss


class Focal(TokenLabeling):
    """A loss of its own (Lin et al. 2017)."""

    def __init__(self, *args, gamma: float = 2.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gamma = gamma

    def loss(self, output, batch) -> Loss:
        loss = super().loss(output, batch)
        loss.values = loss.values * (1 - (-loss.values).exp()) ** self.gamma
        return loss


class Deep(SequenceClassification):
    """An output layer of its own."""

    def build_output(self, dim: int) -> nn.Module:
        return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, self.num_labels))


class Bigram(LanguageModel):
    """Its own loss: the rarest symbols count for nothing."""

    def loss(self, output, batch) -> Loss:
        loss = super().loss(output, batch)
        return Loss(loss.values, loss.weight * (batch.targets < self.num_labels - 1))


class Chain(TokenLabeling):
    """A linear-chain conditional random field, a loop over the sequences of the batch."""

    def build_output(self, dim: int) -> nn.Module:
        self.moves = nn.Parameter(torch.zeros(self.num_labels, self.num_labels))
        return super().build_output(dim)

    def loss(self, output, batch) -> Loss:
        values = [self.surprise(output.logits[a:b], batch.targets[a:b])
                  for a, b in zip(output.offsets[:-1], output.offsets[1:]) if a < b]
        values = torch.stack(values) if values else output.logits.sum(-1)
        return Loss(values, torch.ones_like(values))

    def surprise(self, logits, targets):
        moved = self.moves[targets[:-1], targets[1:]].sum()
        gold = logits.gather(1, targets[:, None]).sum() + moved
        total = logits[0]
        for row in logits[1:]:
            total = (total[:, None] + self.moves).logsumexp(0) + row
        return total.logsumexp(0) - gold


class BestChain(Chain):
    """The same, and the labels are those of the best path (Viterbi 1967), not each by itself."""

    def decode(self, output, batch) -> list[list[str]]:
        return [self.path(logits) for logits in output.logits.split(batch.lengths.tolist())]

    def path(self, logits):
        best, paths = logits[:1].sum(0), [[label] for label in self.labels]
        for row in logits[1:]:
            best, before = (best[:, None] + self.moves).max(0)
            best = best + row
            paths = [[*paths[i], label] for i, label in zip(before.tolist(), self.labels)]
        return paths[int(best.argmax())] if len(logits) else []
'''

DATA = """
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from seqattn import Example


class Mine(LightningDataModule):
    def __init__(self, count: int = 6) -> None:
        super().__init__()
        self.texts = [[f"w{i + j}" for j in range(1 + i % 3)] for i in range(count)]

    def train_dataloader(self):
        collate = self.trainer.lightning_module.collate
        examples = [Example(text, ["a", "b", "a"][: len(text)]) for text in self.texts]
        return DataLoader(examples, batch_size=2, collate_fn=collate)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's folder with heads and data; gone from memory afterwards."""
    (tmp_path / "their_heads.py").write_text(HEADS)
    (tmp_path / "their_data.py").write_text(DATA)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["seqattn"])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("their_heads", "their_data"):
        sys.modules.pop(name, None)


def config(class_path: str, **arguments: Any) -> dict[str, Any]:
    return {
        "class_path": class_path,
        "init_args": {
            "frontend": {"class_path": "seqattn.TextFrontEnd", "init_args": {"character_dim": 4}},
            "encoder": {
                "class_path": "seqattn.Encoder",
                "init_args": {"dim": 16, "depth": 1, "heads": 2},
            },
            **arguments,
        },
    }


def stock_cli(folder: Path, model: dict[str, Any], command: str, *more: str) -> LightningCLI:
    """Run a LightningCLI without a single option of ours."""
    options = {**QUIET, "max_epochs": 1, "default_root_dir": str(folder)}
    content = {"trainer": options, "model": model, "data": {"class_path": "their_data.Mine"}}
    (folder / "x.yaml").write_text(yaml.safe_dump(content))
    return LightningCLI(args=[command, "--config", str(folder / "x.yaml"), *more])


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("seqattn.TokenLabeling", {"learning_rate": 0.01, "layer": "mix"}),
        ("their_heads.Chain", {}),
        ("their_heads.Focal", {"gamma": 1.0, "clip_norm": 2.0}),
    ],
)
def test_heads_run_in_a_stock_cli(users: Path, path: str, arguments: dict[str, Any]) -> None:
    cli = stock_cli(users, config(path, **arguments), "fit")
    given = cli.model.spec["init_args"]
    assert {**given, **arguments} == given
    assert cli.trainer.callback_metrics["val/loss"].isfinite()
    cli.trainer.save_checkpoint(users / "x.ckpt")
    loaded = seqattn.load(users / "x.ckpt")
    assert loaded.predict([["w1", "w2"]]) == cli.model.predict([["w1", "w2"]])
    (users / "config.yaml").unlink()  # the stock CLI overwrites none
    resumed = stock_cli(users, config(path, **arguments), "fit", "--ckpt_path", "x.ckpt")
    assert resumed.trainer.global_step == cli.trainer.global_step


def test_a_misspelt_argument_is_refused_by_a_stock_cli(users: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        stock_cli(users, config("seqattn.TokenLabeling", lerning_rate=1.0), "fit")
    assert "lerning_rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "examples", "raw", "arguments"),
    [
        ("Focal", tagged(), [["old", "cat"], []], {"gamma": 1.5}),
        ("Chain", tagged(), [["old", "cat"], []], {}),
        ("BestChain", tagged(), [["old", "cat"], []], {}),
        ("Deep", labelled(), ["a cat", ""], {"pooling": "max"}),
        ("Bigram", [Example("abc"), Example("ca")], ["ab"], {}),
    ],
)
def test_a_users_head_trains_and_comes_back(
    users: Path, name: str, examples: Any, raw: Any, arguments: Any
) -> None:
    cls = getattr(importlib.import_module("their_heads"), name)
    causal = name == "Bigram"
    parts = frontend(begin=causal), encoder(pattern="causal" if causal else "full")
    head = cls(*parts, **arguments)
    runner = trainer()
    runner.fit(head, loader(head, examples), loader(head, examples))
    assert runner.callback_metrics["val/loss"].isfinite()
    runner.save_checkpoint(users / "x.ckpt")
    expected = head.predict(raw)
    del sys.modules["their_heads"]
    with pytest.raises(ValueError, match=f"trust.*their_heads|their_heads.{name}"):
        seqattn.load(users / "x.ckpt")
    loaded = seqattn.load(users / "x.ckpt", trust=["their_heads"])
    assert loaded.predict(raw) == expected
    assert {**loaded.spec["init_args"], **arguments} == loaded.spec["init_args"]


def test_every_users_head_has_at_most_20_lines() -> None:
    for part in HEADS.split("\nclass ")[1:]:
        assert len([line for line in part.splitlines() if line.strip()]) <= 20


def test_chain_loss_is_the_probability_of_all_paths(users: Path) -> None:
    head = importlib.import_module("their_heads").Chain(frontend(), encoder())
    head.fit_vectorizers([["x", "y"]], [["a", "b"]])
    head.configure_model()
    torch.nn.init.normal_(head.moves)
    logits = torch.randn(3, 2)
    paths = torch.cartesian_prod(*[torch.arange(2)] * 3)
    total = sum(torch.exp(-head.surprise(logits, path)) for path in paths)
    torch.testing.assert_close(total, torch.tensor(1.0))


def test_best_chain_is_the_least_surprising_of_all_paths(users: Path) -> None:
    head = importlib.import_module("their_heads").BestChain(frontend(), encoder())
    head.fit_vectorizers([["x", "y"]], [["a", "b"]])
    head.configure_model()
    for seed in range(5):
        torch.manual_seed(seed)
        torch.nn.init.normal_(head.moves)
        logits = torch.randn(4, 2)
        paths = torch.cartesian_prod(*[torch.arange(2)] * 4)
        best = paths[min(range(16), key=lambda i: float(head.surprise(logits, paths[i])))]
        assert head.path(logits) == [head.labels[number] for number in best]


ROWS = [
    {"tokens": ["old", "cat"], "tags": ["ADJ", "NOUN"], "text": "old cat", "kind": "x"},
    {"tokens": ["red"], "tags": ["ADJ"], "text": "red", "kind": "y"},
    {"tokens": ["a", "red", "mat"], "tags": ["DET", "ADJ", "NOUN"], "text": "mat", "kind": "x"},
]


@pytest.mark.parametrize(
    ("name", "columns", "raw"),
    [
        ("Focal", ("tokens", "tags"), [["old", "cat"]]),
        ("Deep", ("text", "kind"), ["old cat", "red"]),
        ("Bigram", ("text", None), ["re"]),
        ("BestChain", ("tokens", "tags"), [["old", "cat"], []]),
    ],
)
def test_a_users_head_runs_by_its_class_path_in_the_command(
    users: Path, name: str, columns: tuple[str, str | None], raw: Any
) -> None:
    (users / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    reader = {
        "class_path": "seqattn.data.Table",
        "init_args": {"path": "rows.jsonl", "source": columns[0], "target": columns[1]},
    }
    model = config(f"their_heads.{name}")
    if name == "Bigram":
        model["init_args"]["frontend"]["init_args"]["begin"] = True
        model["init_args"]["encoder"]["init_args"]["pattern"] = "causal"
    data = {"class_path": "seqattn.SequenceData"}
    data["init_args"] = {split: reader for split in ("train", "val", "test")}  # type: ignore[assignment]
    content = {"trainer": {"max_epochs": 1, "accelerator": "cpu"}, "model": model, "data": data}
    (users / "mine.yaml").write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", "mine.yaml"]) == 0
    [path] = users.glob("runs/mine/*/checkpoints/best.ckpt")
    assert main(["test", "--config", "mine.yaml", "--ckpt_path", str(path)]) == 0
    head = seqattn.load(path)
    assert type(head).__name__ == name
    assert len(head.predict(raw)) == len(raw)


@pytest.mark.parametrize("workers", [0, 2])
def test_collate_works_in_a_plain_loader(workers: int) -> None:
    head = seqattn.TokenLabeling(frontend(), encoder())
    batches: Any = DataLoader(
        tagged(),
        batch_size=2,
        collate_fn=head.collate,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    runner = trainer(max_epochs=2)
    runner.fit(head, batches, batches)
    assert runner.callback_metrics["val/loss"].isfinite()


class Theirs(LightningModule):
    """Somebody's module that borrows the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(3, 16)
        self.encoder = Encoder(16, 1, 2)
        self.out = torch.nn.Linear(16, 1)

    def training_step(self, batch: SequenceBatch) -> Any:
        x = self.encoder(self.project(batch.values), batch.offsets)
        return self.out(x).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_encoder_works_in_somebody_elses_module() -> None:
    torch.manual_seed(0)
    model = Theirs()
    before = model.encoder.layers[0].mixer.project_in.weight.clone()  # type: ignore[union-attr]
    batches = [SequenceBatch.from_list([torch.randn(4, 3), torch.randn(2, 3)]) for _ in range(3)]
    runner = lightning.pytorch.Trainer(**{**QUIET, "max_epochs": 1})  # type: ignore[arg-type]
    runner.fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    after = model.encoder.layers[0].mixer.project_in.weight  # type: ignore[union-attr]
    assert not torch.equal(before, after)


class Plain(LightningDataModule):
    """A data module that knows nothing of seqattn but its examples."""

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        collate = self.trainer.lightning_module.collate  # type: ignore[union-attr]
        return DataLoader(tagged(), batch_size=3, collate_fn=collate)  # type: ignore[arg-type]


def test_a_users_data_module_is_fitted_on() -> None:
    head = seqattn.TokenLabeling(frontend(), encoder())
    trainer().fit(head, datamodule=Plain())
    assert head.labels == ["ADJ", "ADP", "DET", "NOUN", "VERB"]


def test_batches_that_hold_no_examples_are_refused() -> None:
    head = seqattn.TokenLabeling(frontend(), encoder())
    with pytest.raises(ValueError, match="must hold seqattn.Example objects, got str"):
        trainer().fit(head, DataLoader(["a", "b"], collate_fn=head.collate))  # type: ignore[arg-type]


def test_a_head_fits_twice() -> None:
    head = fit(seqattn.TokenLabeling(frontend(), encoder()), tagged(), log_every_n_steps=1)
    fit(head, tagged(), log_every_n_steps=1)
    assert head.predict([["old"]])
