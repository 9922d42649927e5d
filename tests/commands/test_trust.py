import sys
from collections.abc import Callable
from pathlib import Path

import jsonargparse._common
import pytest
import torch

from seqattn.commands.trust import import_policy, local_modules
from tests.commands.conftest import Run

Edit = Callable[[str, str], None]
HEAD = "import seqattn\n\n\nclass MyHead(seqattn.TokenLabeling):\n    '''A head of one's own.'''\n"


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A module on the import path, but not in the working directory, that leaves a file behind."""
    folder = tmp_path_factory.mktemp("elsewhere")
    file = folder / "touched"
    code = f"open({str(file)!r}, 'w').close()\nimport seqattn\n\n\n"
    (folder / "foreign_canary.py").write_text(
        code + "class Head(seqattn.TokenLabeling):\n    pass\n"
    )
    sys.path.append(str(folder))
    return file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seqattn.TokenLabeling", "foreign_canary.Head"),
        ("seqattn.TextFrontEnd", "foreign_canary.Head"),
        ("seqattn.SequenceData", "foreign_canary.Head"),
        ("seqattn.data.Conllu", "foreign_canary.Head"),
        ("max_epochs: 1", "callbacks: [{class_path: foreign_canary.Head}]"),
        ("max_epochs: 1", "callbacks: foreign_canary.Head"),
        ("max_epochs: 1", "strategy: foreign_canary.Head"),
        ("max_epochs: 1", "plugins: [{class_path: foreign_canary.Head}]"),
        ("max_epochs: 1", "default_root_dir: !!python/object/apply:foreign_canary.Head []"),
        ("max_epochs: 1", "logger: {class_path: foreign_canary.Head}"),
        ("max_epochs: 1", "max_epochs: {_target_: foreign_canary.Head}"),
    ],
)
def test_a_config_imports_nothing_outside_the_trusted_modules(
    old: str, new: str, canary: Path, run: Run, edit: Edit
) -> None:
    edit(old, new)
    assert run("fit", "--config", "tiny.yaml") == 2
    assert not canary.exists()
    assert "foreign_canary" not in sys.modules


def test_a_refusal_names_the_option_that_trusts(
    canary: Path, run: Run, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("seqattn.TokenLabeling", "foreign_canary.Head")
    assert run("fit", "--config", "tiny.yaml") == 2
    assert "add --trust foreign_canary" in capsys.readouterr().err


def test_trust_lets_a_config_name_the_module(canary: Path, run: Run, edit: Edit) -> None:
    edit("seqattn.TokenLabeling", "foreign_canary.Head")
    words = ("--config", "tiny.yaml", "--trainer.max_steps=1", "--trust", "foreign_canary")
    assert run("fit", *words) == 0
    assert canary.exists()


def test_a_config_cannot_trust(canary: Path, run: Run, edit: Edit) -> None:
    edit("trainer:", "trust: foreign_canary\ntrainer:")
    edit("seqattn.TokenLabeling", "foreign_canary.Head")
    assert run("fit", "--config", "tiny.yaml") == 2
    assert not canary.exists()


def test_commands_of_the_standard_library_are_refused(run: Run, edit: Edit, corpus: Path) -> None:
    edit("seqattn.TextFrontEnd", "os.system")
    assert run("fit", "--config", "tiny.yaml") == 2


def test_a_config_from_a_url_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "--config", "https://example.org/a.yaml") == 2
    assert "example.org" in capsys.readouterr().err


def test_a_users_head_in_the_working_directory_needs_no_trust(
    run: Run, edit: Edit, corpus: Path
) -> None:
    (corpus / "my_head.py").write_text(HEAD)
    edit("seqattn.TokenLabeling", "my_head.MyHead")
    assert run("fit", "--config", "tiny.yaml") == 0
    assert run("validate", "--config", "tiny.yaml", "--ckpt_path", "best") == 0


def test_a_checkpoint_alone_may_not_name_a_module_of_the_working_directory(
    run: Run, edit: Edit, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "my_head.py").write_text(HEAD)
    edit("seqattn.TokenLabeling", "my_head.MyHead")
    assert run("fit", "--config", "tiny.yaml") == 0
    path = next(corpus.glob("runs/tiny/*/checkpoints/best.ckpt"))
    words = [
        *("--ckpt_path", path, "--data=seqattn.SequenceData", "--data.val=seqattn.data.Conllu"),
        *("--data.val.path=val.conllu", "--data.val.column=upos"),
    ]
    assert run("validate", *words) == 2
    assert "add --trust my_head" in capsys.readouterr().err
    assert run("validate", *words, "--trust", "my_head") == 0


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_malicious_checkpoint_runs_nothing(
    command: str, canary: Path, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"class_path": "foreign_canary.Head", "init_args": {}}
    torch.save(
        {
            "hyper_parameters": {"_instantiator": "foreign_canary.Head", "_class_path": "x.Y"},
            "seqattn": {"format": 1, "spec": spec, "vectorizers": {"source": {}}},
            "state_dict": {},
        },
        corpus / "bad.ckpt",
    )
    assert run(command, "--ckpt_path", "bad.ckpt", "--data=seqattn.SequenceData") == 2
    assert "foreign_canary" in capsys.readouterr().err
    assert run(command, "--config", "tiny.yaml", "--ckpt_path", "bad.ckpt") == 2
    assert not canary.exists()


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


def test_a_pickle_in_a_checkpoint_is_not_opened(canary: Path, run: Run, corpus: Path) -> None:
    torch.save({"seqattn": Payload(canary)}, corpus / "bad.ckpt")
    assert run("validate", "--config", "tiny.yaml", "--ckpt_path", "bad.ckpt") == 2
    assert not canary.exists()


def test_the_policy_ends_with_the_command(corpus: Path) -> None:
    before = dict(jsonargparse._common.parsing_settings)
    with import_policy(["anything"]):
        assert jsonargparse._common.parsing_settings != before
    assert jsonargparse._common.parsing_settings == before


def test_local_modules_leave_out_taken_names(corpus: Path) -> None:
    (corpus / "mine.py").touch()
    (corpus / "not-a-name.py").touch()
    (corpus / "subprocess.py").touch()
    (corpus / "wandb").mkdir()
    (corpus / "package").mkdir()
    (corpus / "package" / "__init__.py").touch()
    sys.path.insert(0, str(corpus))
    assert local_modules(corpus) == ["mine", "package"]


def test_nothing_local_is_trusted_when_the_directory_is_not_on_the_path(corpus: Path) -> None:
    (corpus / "mine.py").touch()
    assert local_modules(corpus) == []
