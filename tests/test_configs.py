"""Every configuration is short, makes its parts, and refuses a key that is misspelt."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqattn.cli import main
from seqattn.recorded import build
from seqattn.vectorizer import Vectorizer

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
MODELS = [path for path in CONFIGS if "\nmodel:" in path.read_text("utf-8")]
WITH_FILES = [path for path in MODELS if "{path: " in path.read_text("utf-8")]


def completed(part: Any) -> Any:
    """Give every part of a YAML its `init_args`."""
    if isinstance(part, dict) and "class_path" in part:
        arguments = {k: completed(v) for k, v in part.get("init_args", {}).items()}
        return {"class_path": part["class_path"], "init_args": arguments}
    return part


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 40


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_config_makes_its_head_and_readers(path: Path) -> None:
    config = yaml.safe_load(path.read_text("utf-8"))
    head = build(completed(config["model"]), trust=["tasks"])
    assert isinstance(head.collate.source, Vectorizer)
    for split, reader in config["data"]["init_args"].items():
        if isinstance(reader, dict):
            assert build(completed(reader), trust=["tasks"]).read, split


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("key", "misspelt"), [("frontend", "frontent"), ("batch_tokens", "batch_token")]
)
def test_config_is_refused_when_a_key_is_misspelt(
    path: Path,
    key: str,
    misspelt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(rf"\b{key}:", f"{misspelt}:", path.read_text("utf-8"))
    Path("wrong.yaml").write_text(text, "utf-8")
    assert main(["fit", "--config", "wrong.yaml", "--trust", "tasks"]) == 2
    message = capsys.readouterr().err
    assert misspelt in message
    assert f"`{key}`" in message or f"'{key}'" in message or key in message.replace(misspelt, "")


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
