"""The commands with several heads on one encoder."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import torch
import yaml

import seqattn
from seqattn import MultiTask
from tests.commands.conftest import Run, tiny_config


@pytest.fixture
def joint(corpus: Path) -> Path:
    """The config of two heads that label the same corpus."""
    config = tiny_config()
    model, data = config["model"], config["data"]
    assert isinstance(model, dict)
    arguments = dict(model["init_args"])
    head = {"class_path": model["class_path"], "init_args": {"frontend": arguments.pop("frontend")}}
    arguments |= {"heads": {"first": head, "second": head}, "weights": {"second": 0.5}}
    config["model"] = {"class_path": "seqattn.MultiTask", "init_args": arguments}
    tasks = {"first": data, "second": data["init_args"]}  # type: ignore[index]
    config["data"] = {"class_path": "seqattn.MultiData", "init_args": {"tasks": tasks}}
    path = corpus / "joint.yaml"
    dumper = yaml.SafeDumper
    dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    path.write_text(yaml.dump(config, Dumper=dumper, sort_keys=False))
    return path


def newest(folder: Path, name: str) -> Path:
    return max(folder.rglob(name), key=lambda path: path.stat().st_mtime_ns)


def test_a_joint_run_is_fitted_resumed_and_tested(
    run: Run, joint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model.encoder.dim=12", "--data.tasks.first.batch_tokens=24"]
    assert run("fit", "--config", "joint.yaml", *options) == 0
    shown = capsys.readouterr().out
    assert "first/val/accuracy" in shown
    assert "val/mean_score" in shown
    model = seqattn.load(newest(corpus, "best.ckpt"))
    assert isinstance(model, MultiTask)
    assert model.encoder.dim == 12
    with newest(corpus, "metrics.csv").open(newline="") as file:
        columns = set(next(csv.reader(file)))
    assert {"first/train/loss", "second/val/macro_f1", "train/loss", "val/loss"} <= columns
    more = ["--ckpt_path", "last", "--trainer.max_epochs=2"]
    assert run("fit", "--config", "joint.yaml", *options, *more) == 0
    last = torch.load(newest(corpus, "last.ckpt"), weights_only=True)
    assert last["epoch"] == 1
    capsys.readouterr()
    assert run("validate", "--config", "joint.yaml", *options, "--ckpt_path", "best") == 0
    assert "second/val/accuracy" in capsys.readouterr().out


def test_a_checkpoint_names_the_model_where_no_config_does(
    run: Run, joint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "--config", "joint.yaml") == 0
    config = yaml.safe_load(joint.read_text())
    (corpus / "data.yaml").write_text(yaml.safe_dump({"data": config["data"]}))
    checkpoint, again = newest(corpus, "best.ckpt"), newest(corpus, "resolved.yaml")
    capsys.readouterr()
    assert run("validate", "--config", "data.yaml", "--ckpt_path", checkpoint) == 0
    assert "first/val/accuracy" in capsys.readouterr().out
    assert run("fit", "--config", again, "--trainer.max_steps=1") == 0


def test_prediction_names_the_way_to_do_it(
    run: Run, joint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "--config", "joint.yaml") == 0
    capsys.readouterr()
    assert run("predict", "--config", "joint.yaml", "--ckpt_path", "best") == 2
    assert "seqattn.load(path, task=…) gives, one of first, second" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("frontend:", "frontent:", "model.heads.first.frontent is not a known key; the nearest"),
        ("units: word", "unis: word", "model.heads.first.frontend.unis is not a known key; the"),
        ("units: word", "units: wrd", "model.heads.first.frontend.units must be 'word', .* 'wrd'"),
        (
            "TokenLabeling",
            "TokenLabelin",
            "model.heads.first names the class 'seqattn.TokenLabelin",
        ),
        ("path: train", "pth: train", "data.tasks.first.train.pth is not a known key; the nearest"),
        ("weights:", "weigths:", "model.weigths is not a known key; the nearest valid one is 'wei"),
    ],
)
def test_a_mistake_in_a_head_or_a_task_gives_its_whole_key_and_line(
    run: Run, joint: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, rule: str
) -> None:
    text = joint.read_text()
    line = text[: text.index(old)].count("\n") + 1
    joint.write_text(text.replace(old, new, 1))
    assert run("fit", "--config", "joint.yaml") == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: joint.yaml:{line}: ")
    assert re.search(rule, message)


def test_a_mistake_in_a_task_without_a_class_gives_its_whole_key(
    run: Run, joint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, _, tail = joint.read_text().rpartition("train:")
    joint.write_text(f"{head}trian:{tail}")
    assert run("fit", "--config", "joint.yaml") == 2
    rule = "data.tasks.second.trian is not a known key; the nearest valid one is 'train'\n"
    assert capsys.readouterr().err.endswith(rule)
