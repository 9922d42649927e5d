import re
from collections.abc import Callable
from pathlib import Path

import pytest

from seqattn.callbacks.conllu_writer import conllu_block
from seqattn.commands.trainer_command import is_user_mistake, user_mistake
from seqattn.errors import DataError
from tests.commands.conftest import Run

Edit = Callable[[str, str], None]
ROOT = Path(__file__).parents[2]
COLUMNS = "'id', 'form', 'lemma', 'upos', 'xpos', 'feats', 'head', 'deprel', 'deps' or 'misc'"


def line_of(corpus: Path, text: str) -> int:
    lines = (corpus / "tiny.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [
        ("max_epochs", "max_epoch", "trainer.max_epoch", "max_epochs"),
        ("learning_rate", "learning_rat", "model.learning_rat", "learning_rate"),
        ("units", "unit", "model.frontend.unit", "units"),
        ("frontend:", "fruntend:", "model.fruntend", "frontend"),
        ("trainer:", "triner:", "triner", "trainer"),
        ("data:\n", "dat:\n", "dat", "data"),
        ("column: upos", "colum: upos", "data.train.colum", "column"),
        ("batch_tokens", "batch_token", "data.batch_token", "batch_tokens"),
    ],
)
def test_an_unknown_key_of_a_config_gives_its_line_and_the_nearest_valid_one(
    old: str,
    new: str,
    key: str,
    near: str,
    run: Run,
    edit: Edit,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(old, new)
    assert run("fit", "--config", "tiny.yaml") == 2
    place = f"tiny.yaml:{line_of(corpus, new.strip())}"
    rule = f"{key} is not a known key; the nearest valid one is {near!r}"
    assert capsys.readouterr().err == f"error: {place}: {rule}\n"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            "units: word",
            "units: subwrd",
            "model.frontend.units must be 'word', 'character' or 'subword', got 'subwrd'; "
            "the nearest valid one is 'subword'",
        ),
        (
            "learning_rate: 0.02",
            "class_weights: balancd",
            "model.class_weights must be 'balanced', dict[str, float] or null, got 'balancd'; "
            "the nearest valid one is 'balanced'",
        ),
        (
            "depth: 1",
            "pattern: casual",
            "model.encoder.pattern must be 'full', 'causal', a Pattern or a list of these, "
            "got 'casual'; the nearest valid one is 'causal'",
        ),
        ("dim: 8", "dim: hello", "model.encoder.dim must be int, got 'hello'"),
        ("depth: 1", "dropout: high", "model.encoder.dropout must be float, got 'high'"),
        ("max_epochs: 1", "max_epochs: x", "trainer.max_epochs must be int or null, got 'x'"),
        ("column: upos", "column: nope", f"data.train.column must be {COLUMNS}, got 'nope'"),
        (
            "class_path: seqattn.Encoder",
            "class_path: Encodr",
            "model.encoder names the class 'Encodr': it must be MODULE.NAME; "
            "the nearest valid one is 'seqattn.Encoder'",
        ),
        (
            "class_path: seqattn.TextFrontEnd",
            "class_path: seqattn.TextFrontEn",
            "model.frontend names the class 'seqattn.TextFrontEn': module 'seqattn' has no "
            "attribute 'TextFrontEn'; the nearest valid one is 'seqattn.TextFrontEnd'",
        ),
    ],
)
def test_a_wrong_value_gives_what_is_allowed_and_where_it_stands(
    old: str,
    new: str,
    rule: str,
    run: Run,
    edit: Edit,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, value = rule.split()[0], new.split(": ")[1]
    assert run("fit", "--config", "tiny.yaml", f"--{key}={value}") == 2
    assert capsys.readouterr().err == f"error: {rule}\n"
    edit(old, new)
    assert run("fit", "--config", "tiny.yaml") == 2
    assert capsys.readouterr().err == f"error: tiny.yaml:{line_of(corpus, new)}: {rule}\n"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("trainer: 3\n", "1: trainer must be a mapping, got '3'"),
        ("# none\ntrainer:\n", "2: trainer must be a mapping, got ''"),
        ("wandb: hello\n", "1: wandb must be a mapping, got 'hello'"),
        ("model: 3\n", "1: model must be a mapping, got '3'"),
        ("data: [1]\n", "1: data must be a mapping, got a list"),
        ("- 1\n- 2\n", "1: the file must be a mapping of keys, got a list"),
        ("", "1: the file must be a mapping of keys, got nothing"),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_line(
    text: str, rule: str, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "second.yaml").write_text(text)
    assert run("fit", "--config", "tiny.yaml", "--config", "second.yaml") == 2
    assert capsys.readouterr().err == f"error: second.yaml:{rule}\n"


def test_a_missing_argument_gives_its_whole_key_and_the_line_of_its_class(
    run: Run, edit: Edit, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "path is required by seqattn.data.Conllu\n"
    assert run("fit", "--config", "tiny.yaml", "--data.test=seqattn.data.Conllu") == 2
    assert capsys.readouterr().err == f"error: data.test.{rule}"
    edit("path: val.conllu", "encoding: utf-8")
    line = line_of(corpus, "encoding") - 2
    assert run("fit", "--config", "tiny.yaml") == 2
    assert capsys.readouterr().err == f"error: tiny.yaml:{line}: data.val.{rule}"


def test_a_key_of_a_list_item_is_known_by_its_own_class(
    run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "configs" / "average.yaml").read_text().replace("last:", "lst:")
    (corpus / "average.yaml").write_text(text)
    assert run("fit", "--config", "tiny.yaml", "--config", "average.yaml") == 2
    line = text.splitlines().index("        lst: 5") + 1
    rule = "trainer.callbacks.lst is not a known key; the nearest valid one is 'last'"
    assert capsys.readouterr().err == f"error: average.yaml:{line}: {rule}\n"


def test_a_config_that_is_no_yaml_gives_the_line(
    run: Run, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("max_epochs: 1", "max_epochs: [1")
    assert run("fit", "--config", "tiny.yaml") == 2
    assert re.match(r"error: tiny\.yaml:\d+: the file must be YAML, but ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "key", "near"),
    [
        ("--trainer.max_epoch=1", "--trainer.max_epoch", "max_epochs"),
        ("--model.learning_rte=1", "--model.learning_rte", "learning_rate"),
        ("--model.encoder.dm=1", "--model.encoder.dm", "dim"),
        ("--data.train.pth=x", "--data.train.pth", "path"),
        ("--data.trin.path=x", "--data.trin", "train"),
        ("--confg=x", "--confg", "config"),
    ],
)
def test_an_unknown_option_gives_the_nearest_valid_one(
    option: str, key: str, near: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "--config", "tiny.yaml", option) == 2
    rule = f"error: {key} is not a known key; the nearest valid one is {near!r}\n"
    assert capsys.readouterr().err == rule


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--trainer=3", "trainer must be a mapping or the path of one, got '3'"),
        ("--wandb.mode=of", "wandb.mode must be 'auto', 'online', 'offline' or 'disabled', got"),
        ("--model.encoder.init_args.dim=x", "model.encoder.dim must be int, got 'x'"),
        ("--model=seqattn.TokenLabelin", "model names the class 'seqattn.TokenLabelin'"),
        ("--data.val=null --patience=2", "patience needs a validation set, got patience=2"),
        ("--data.test.path=x", "--data.test.path overrides an argument of data.test, which no con"),
        ("--trainer.strategy=no", "trainer: You selected an invalid strategy name"),
        ("--trust", "--trust needs a value"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    option: str, sentence: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "--config", "tiny.yaml", *option.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {sentence}")
    assert message.count("\n") == 1


def test_a_missing_config_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "--config", "none.yaml") == 2
    assert "none.yaml" in capsys.readouterr().err


def test_missing_model_and_data_are_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit") == 2
    assert "data and model are required" in capsys.readouterr().err


def test_an_unknown_command_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ft", "--config", "tiny.yaml") == 2
    assert "invalid choice: 'ft'" in capsys.readouterr().err


def test_absent_data_is_the_readers_sentence(
    run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "train.conllu").unlink()
    assert run("fit", "--config", "tiny.yaml") == 2
    message = capsys.readouterr().err
    assert message.startswith("error: train.conllu: ")
    assert "Traceback" not in message
    assert not (corpus / "runs").exists()


def test_a_parts_own_rule_is_given_without_a_traceback(
    run: Run, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("dim: 8", "dim: 9")
    assert run("fit", "--config", "tiny.yaml") == 2
    assert capsys.readouterr().err.startswith("error: heads must divide dim")


def test_debug_shows_the_traceback(run: Run, corpus: Path) -> None:
    (corpus / "train.conllu").unlink()
    with pytest.raises(DataError, match=r"train\.conllu"):
        run("fit", "--config", "tiny.yaml", "--debug")


def test_a_bug_in_the_users_head_keeps_its_traceback(run: Run, edit: Edit, corpus: Path) -> None:
    (corpus / "broken_head.py").write_text(
        "import seqattn\n\n\n"
        "class Broken(seqattn.TokenLabeling):\n"
        "    def loss(self, output, batch):\n"
        "        raise ValueError('my own bug')\n"
    )
    edit("seqattn.TokenLabeling", "broken_head.Broken")
    with pytest.raises(ValueError, match="my own bug"):
        run("fit", "--config", "tiny.yaml")


def test_an_error_that_a_library_raises_is_no_mistake_of_the_user() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    assert not is_user_mistake(caught.value)


def test_a_call_of_ours_that_fails_is_no_mistake_of_the_user() -> None:
    with pytest.raises(TypeError) as caught:
        conllu_block("a", None, ["X"])  # type: ignore[arg-type]
    assert not is_user_mistake(caught.value)


def test_the_cause_behind_a_wrapped_error_is_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("wrapped") from DataError("the rule", path="a.txt", line=3)
    assert user_mistake(caught.value) == "a.txt:3: the rule"
