import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from seqattn import cli
from seqattn.commands import environment, forward

ROOT = Path(__file__).parents[1]


def python(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


class Owner:
    """An entry point that notes what it was called with."""

    value = "other.cli:main"
    group = "console_scripts"
    name = "lightning"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def load(self) -> object:
        return lambda: self.calls.append(sys.argv[1:])


class Wheel:
    def __init__(self, *entry_points: object) -> None:
        self.entry_points = entry_points


def test_a_foreign_command_goes_to_the_other_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = Owner(), Owner()
    ours.value = "seqattn.cli:lightning"
    monkeypatch.setattr(forward, "distributions", lambda: [Wheel(ours), Wheel(other)])
    monkeypatch.setattr(sys, "argv", ["lightning", "deploy", "--now"])
    assert cli.lightning() == 0
    assert (ours.calls, other.calls) == ([], [["deploy", "--now"]])


def test_a_foreign_command_without_an_owner_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forward, "distributions", lambda: [])
    assert cli.lightning(["deploy"]) == 2
    assert "lightning has no command 'deploy'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["fit"], ["--help"], ["--config", "x.yaml", "fit"]])
def test_our_own_commands_are_not_forwarded(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "main", lambda arguments: 7)
    assert cli.lightning(words) == 7


def test_the_working_directory_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    environment.put_working_directory_first()
    assert sys.path == [os.getcwd(), "/elsewhere"]


def test_safe_path_mode_keeps_the_working_directory_out(tmp_path: Path) -> None:
    code = "import sys; from seqattn.commands import environment as e; "
    code += "e.put_working_directory_first(); import os; print(os.getcwd() in sys.path)"
    assert python("-P", "-c", code, folder=tmp_path).stdout.strip() == "False"


def test_tokenizer_threads_are_off_unless_the_user_set_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    environment.set_defaults()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    environment.set_defaults()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_waiting_threads_sleep_unless_the_user_set_them(tmp_path: Path) -> None:
    code = (
        "import os, sys; from seqattn import cli; from seqattn.commands import environment; "
        "environment.set_defaults(); print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    assert python("-c", code, folder=tmp_path).stdout.split() == ["PASSIVE", "False"]
    code = "import os; os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'; " + code
    assert python("-c", code, folder=tmp_path).stdout.split() == ["ACTIVE", "False"]


def test_python_m_seqattn_is_the_command_and_its_help_imports_no_more_than_it_must(
    tmp_path: Path,
) -> None:
    done = python("-X", "importtime", "-m", "seqattn", "fit", "--help", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: seqattn")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "lightning.pytorch.cli" in imported
    slow = {"wandb", "pandas", "sklearn", "torch_geometric", "soundfile"}
    assert not slow & imported


def test_both_scripts_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {
        "seqattn": "seqattn.cli:main",
        "lightning": "seqattn.cli:lightning",
    }


def test_the_sweep_drives_fit_with_options_that_the_command_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    sweep = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
    values = {name: one_value(given) for name, given in sweep["parameters"].items()}
    arguments = [f"--{name}={value}" for name, value in values.items()]
    words = [w for word in sweep["command"] for w in (arguments if word == "${args}" else [word])]
    assert words[:3] == ["${env}", sweep["program"], "fit"]
    assert sweep["program"] in {
        script.name for script in importlib.metadata.entry_points(group="console_scripts")
    } | {"lightning"}
    assert cli.main([*words[2:], "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["learning_rate"] == values["model.learning_rate"]
    assert (
        printed["model"]["init_args"]["encoder"]["init_args"]["dim"] == values["model.encoder.dim"]
    )
    assert printed["wandb"]["tags"] == ["sweep"]


def one_value(parameter: dict[str, object]) -> object:
    values = parameter.get("values")
    return values[0] if isinstance(values, list) else parameter["min"]
