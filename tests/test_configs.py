"""Every configuration is short, makes its parts, and refuses a key that is misspelt."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import seqattn
from seqattn import MultiTask
from seqattn.cli import main
from seqattn.recorded import build
from seqattn.vectorizer import Vectorizer

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
OVERLAYS = [
    ROOT / "configs" / f"{name}.yaml" for name in ("average", "bf16", "ddp", "ema", "wandb")
]
SMALLEST = ROOT / "configs" / "questions.yaml"
SHARED_ENCODER = ROOT / "configs" / "encoder" / "shared.yaml"
MODELS = [path for path in CONFIGS if "\ndata:" in path.read_text("utf-8")]
WITH_FILES = [path for path in MODELS if "{path: " in path.read_text("utf-8")]


def completed(part: Any) -> Any:
    """Give every part of a YAML its `init_args`."""
    if isinstance(part, dict) and "class_path" in part:
        return {"class_path": part["class_path"], "init_args": completed(part.get("init_args", {}))}
    return {k: completed(v) for k, v in part.items()} if isinstance(part, dict) else part


def parts_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the parts among arguments and in mappings of further ones."""
    given = [(name, value) for name, value in arguments.items() if isinstance(value, dict)]
    inner = [parts_of(value) for _, value in given if "class_path" not in value]
    found = {name: value for name, value in given if "class_path" in value}
    return found | {f"{n} {i}": value for i, more in enumerate(inner) for n, value in more.items()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 40


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_config_makes_its_head_and_readers(path: Path) -> None:
    config = yaml.safe_load(path.read_text("utf-8"))
    head = build(completed(config["model"]), trust=["tasks"])
    collators = head.collate.values() if isinstance(head, MultiTask) else [head.collate]
    assert all(isinstance(collate.source, Vectorizer) for collate in collators)
    for split, reader in parts_of(config["data"]["init_args"]).items():
        assert build(completed(reader), trust=["tasks"]).read, split


def parsed(capsys: pytest.CaptureFixture[str], *paths: Path) -> Any:
    """Return what the command makes of stacked configs, which it does not run."""
    words = [word for path in paths for word in ("--config", str(path))]
    assert main(["fit", *words, "--trust", "tasks", "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_config_is_known_to_the_command(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = yaml.safe_load(path.read_text("utf-8"))
    found = parsed(capsys, path)
    assert found["model"]["class_path"] == given["model"]["class_path"]
    assert given["trainer"].items() <= found["trainer"].items()


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_changes_a_config_as_it_says(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, found = yaml.safe_load(path.read_text("utf-8")), parsed(capsys, SMALLEST, path)
    added = given.get("trainer", {}).pop("callbacks+", [])
    assert added == [
        {name: callback[name] for name in ("class_path", "init_args")}
        for callback in found["trainer"]["callbacks"] or []
    ]
    for section, values in given.items():
        assert values.items() <= found[section].items()


def test_overlays_stack(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(capsys, SMALLEST, *OVERLAYS)
    names = [
        callback["class_path"].rpartition(".")[2] for callback in found["trainer"]["callbacks"]
    ]
    assert names == ["AverageCheckpoint", "ExponentialAverage"]
    assert found["trainer"]["precision"] == "bf16-mixed"
    assert found["trainer"]["devices"] == 2


def misspelt(path: Path, key: str, wrong: str) -> int:
    """Write wrong.yaml, the config with a misspelt key, and return its line."""
    text = re.sub(rf"\b{key}:", f"{wrong}:", path.read_text("utf-8"), count=1)
    Path("wrong.yaml").write_text(text, "utf-8")
    lines = text.splitlines()
    return next(number for number, line in enumerate(lines, start=1) if f"{wrong}:" in line)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize(("key", "wrong"), [("frontend", "frontent"), ("train", "trian")])
def test_config_is_refused_with_the_line_when_a_key_is_misspelt(
    path: Path,
    key: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = misspelt(path, key, wrong)
    assert main(["fit", "--config", "wrong.yaml", "--trust", "tasks"]) == 2
    section = "model" if key == "frontend" else "data"
    if "seqattn.MultiTask" in path.read_text("utf-8"):
        section += ".heads.roles" if key == "frontend" else ".tasks.roles"
    rule = f"{section}.{wrong} is not a known key; the nearest valid one is {key!r}"
    assert capsys.readouterr().err == f"error: wrong.yaml:{line}: {rule}\n"


@pytest.mark.parametrize(
    ("name", "key", "wrong"),
    [
        ("average", "last", "lst"),
        ("bf16", "precision", "precison"),
        ("ddp", "devices", "device"),
        ("ema", "decay", "decai"),
        ("wandb", "artifacts", "artefacts"),
    ],
)
def test_overlay_is_refused_with_the_line_when_a_key_is_misspelt(
    name: str,
    key: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = misspelt(ROOT / "configs" / f"{name}.yaml", key, wrong)
    words = ["--config", str(SMALLEST), "--config", "wrong.yaml", "--trust", "tasks"]
    assert main(["fit", *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: wrong.yaml:{line}: ")
    assert message.endswith(f"{wrong} is not a known key; the nearest valid one is {key!r}\n")


@pytest.mark.parametrize("path", WITH_FILES, ids=lambda path: path.stem)
def test_config_says_where_its_data_is_when_it_is_absent(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", str(path), "--trust", "tasks"]) == 2
    assert re.search(r"the data is at https://", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["python_roles", "questions", "handwritten_digits"])
def test_shared_encoder_replaces_every_slot(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = yaml.safe_load(SHARED_ENCODER.read_text("utf-8"))["model"]["init_args"]["encoder"]
    found = parsed(capsys, ROOT / "configs" / f"{name}.yaml", SHARED_ENCODER)
    assert found["model"]["init_args"]["encoder"] == given


@pytest.mark.filterwarnings("ignore:.*labels never occur in training")  # there are few examples
@pytest.mark.parametrize(
    ("name", "few"),
    [
        ("python_roles", ["--data.train.fraction=0.01", "--data.val.fraction=0.01"]),
        ("moving_shapes", ["--data.train.clips=8", "--data.val.clips=8"]),
    ],
)
def test_shared_encoder_takes_a_step_with_any_modality(
    name: str, few: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--config", str(ROOT / "configs" / f"{name}.yaml"), "--config", str(SHARED_ENCODER)]
    steps = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trust=tasks"]
    assert main(["fit", *words, *steps, *few]) == 0
    (best,) = tmp_path.rglob("best.ckpt")
    given = yaml.safe_load(SHARED_ENCODER.read_text("utf-8"))["model"]["init_args"]["encoder"]
    assert seqattn.load(best, trust=["tasks"]).encoder.spec == given
