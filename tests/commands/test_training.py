import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import seqattn
from seqattn.checkpoint import SavedHead
from tests.commands.conftest import Run, read_all, read_until, write_conllu

ROOT = Path(__file__).parents[2]


def run_directories(corpus: Path, name: str = "tiny") -> list[Path]:
    return sorted((corpus / "runs" / name).iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_fit_writes_every_file_of_a_run(trained: Path, corpus: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        "config.yaml",
        "resolved.yaml",
        "metrics.csv",
        "checkpoints",
    }
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    given = (trained / "config.yaml").read_text()
    assert given.endswith((corpus / "tiny.yaml").read_text())
    resolved = yaml.safe_load((trained / "resolved.yaml").read_text())
    assert resolved["model"]["init_args"]["learning_rate"] == 0.02
    assert resolved["model"]["init_args"]["encoder"]["init_args"]["position"] == "rotary"


def test_fit_logs_losses_and_metrics_to_the_csv(trained: Path) -> None:
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"step", "train/loss", "train/learning_rate", "train/tokens_per_second", "val/accuracy"}
    assert names <= set(rows[0])
    assert any(row["val/accuracy"] for row in rows)


def test_fit_ends_with_the_best_checkpoint_and_its_metrics(
    run: Run, capsys: pytest.CaptureFixture[str], corpus: Path
) -> None:
    assert run("fit", "--config", "tiny.yaml") == 0
    best = run_directories(corpus)[0] / "checkpoints" / "best.ckpt"
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4] == f"best checkpoint  {best}"
    assert [line.split()[0] for line in lines[-3:]] == ["val/loss", "val/accuracy", "val/macro_f1"]
    assert lines[0].startswith("TokenLabeling with ")


def test_checkpoints_hold_plain_data_and_are_models(trained: Path) -> None:
    for path in (trained / "checkpoints").iterdir():
        torch.load(path, weights_only=True)
        assert len(seqattn.load(path).predict([["the", "dog"]])[0]) == 2


def test_a_written_config_runs_again(trained: Path, run: Run) -> None:
    assert run("fit", "--config", trained / "resolved.yaml", "--trainer.max_steps=1") == 0


def test_stacked_configs_are_kept_word_for_word_with_the_overrides(run: Run, corpus: Path) -> None:
    (corpus / "two.yaml").write_text("trainer: {max_steps: 1}  # short\n")
    words = ("--config", "tiny.yaml", "--config", "two.yaml", "--model.learning_rate=0.5")
    assert run("fit", *words) == 0
    directory = run_directories(corpus)[0]
    given = (directory / "config.yaml").read_text()
    assert given.startswith("# seqattn fit --config tiny.yaml --config two.yaml")
    assert "# override: --model.learning_rate=0.5\n" in given
    assert f"--- # tiny.yaml\n{(corpus / 'tiny.yaml').read_text()}--- # two.yaml\n" in given
    assert given.endswith("trainer: {max_steps: 1}  # short\n")
    assert len(list(yaml.safe_load_all(given))) == 2
    values = yaml.safe_load((directory / "resolved.yaml").read_text())
    assert values["trainer"]["max_steps"] == 1
    assert values["model"]["init_args"]["learning_rate"] == 0.5


def test_resume_gets_its_own_directory_and_names_its_parent(
    trained: Path, run: Run, corpus: Path
) -> None:
    words = ("--config", "tiny.yaml", "--ckpt_path", "last", "--trainer.max_epochs=2")
    assert run("fit", *words) == 0
    first, second = run_directories(corpus)
    assert (
        f"# parent: {first / 'checkpoints' / 'last.ckpt'}" in (second / "config.yaml").read_text()
    )
    steps = [
        torch.load(path / "checkpoints" / "last.ckpt")["global_step"] for path in (first, second)
    ]
    assert steps[1] == 2 * steps[0]


def test_resume_keeps_the_best_of_its_parent_when_it_finds_no_better(
    trained: Path, run: Run, corpus: Path
) -> None:
    path = trained / "checkpoints" / "best.ckpt"
    words = ("--config", "tiny.yaml", "--ckpt_path", path, "--trainer.max_epochs=2")
    assert run("fit", *words, "--model.learning_rate=1e-12") == 0
    second = run_directories(corpus)[1] / "checkpoints"
    assert (second / "best.ckpt").read_bytes() == path.read_bytes()


def test_last_falls_back_to_the_newest_valid_checkpoint(
    trained: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    words = ("--config", "tiny.yaml", "--ckpt_path", "last", "--trainer.max_epochs=2")
    assert run("fit", *words) == 0
    assert "skipped a damaged checkpoint" in capsys.readouterr().err


def test_test_from_a_checkpoint_never_reads_training_data(
    trained: Path, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "train.conllu").unlink()
    reader = ("--data.test=seqattn.data.Conllu", "--data.test.path=val.conllu")
    words = ("--config", "tiny.yaml", "--ckpt_path", "best", *reader, "--data.test.column=upos")
    assert run("test", *words) == 0
    assert "test/accuracy" in capsys.readouterr().out


def test_validate_gives_the_metrics_that_fit_gave(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", "--config", "tiny.yaml") == 0
    fitted = capsys.readouterr().out.splitlines()[-3:]
    assert run("validate", "--config", "tiny.yaml", "--ckpt_path", "best") == 0
    assert capsys.readouterr().out.splitlines()[:3] == fitted


def test_predict_needs_no_config(trained: Path, run: Run, corpus: Path) -> None:
    (corpus / "raw.txt").write_text("the dog sees a cat\na cat\nbig\n")
    path = trained / "checkpoints" / "best.ckpt"
    words = ("--data=seqattn.SequenceData", "--data.predict=seqattn.data.Lines")
    assert run("predict", "--ckpt_path", path, *words, "--data.predict.path=raw.txt") == 0
    rows = [
        json.loads(line)
        for line in (run_directories(corpus)[1] / "predictions.jsonl").read_text().splitlines()
    ]
    expected = seqattn.load(path).predict(["the dog sees a cat", "a cat", "big"])
    assert [row["prediction"] for row in rows] == expected
    assert len({row["key"] for row in rows}) == 3


def test_predict_refuses_layers_that_the_encoder_has_not(
    trained: Path, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--config", "tiny.yaml", "--ckpt_path", "best", "--data.predict=seqattn.data.Conllu")
    options = ("--data.predict.path=val.conllu", "--predictions.hidden_states=[0,7]")
    assert run("predict", *words, *options) == 2
    rule = "hidden_states must list layers in -2 … 1, got 7"
    assert capsys.readouterr().err == f"error: {rule}\n"


def test_predict_writes_conllu_and_hidden_states_when_asked(
    trained: Path, run: Run, corpus: Path
) -> None:
    reader = ("--data.predict=seqattn.data.Conllu", "--data.predict.path=val.conllu")
    words = ("--config", "tiny.yaml", "--ckpt_path", "best", *reader, "--data.predict.column=upos")
    options = ("--predictions.format=conllu", "--predictions.hidden_states=[0,-1]")
    assert run("predict", *words, *options) == 0
    directory = run_directories(corpus)[1]
    rows = [json.loads(line) for line in (directory / "predictions.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == [f"val-{number}" for number in range(6)]
    read = seqattn.data.readers.conllu.Conllu(str(directory / "predictions.conllu"), column="upos")
    assert [example.target for example in read.read()] == [row["prediction"] for row in rows]
    with np.load(directory / "hidden_states.npz") as states:
        assert states["val-0"].shape == (2, len(rows[0]["prediction"]), 8)
    assert not list(directory.glob("*.part"))


def test_another_architecture_is_refused_before_anything_is_read(
    trained: Path, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "val.conllu").unlink()
    words = ("--config", "tiny.yaml", "--ckpt_path", "best", "--model.encoder.dim=16")
    assert run("validate", *words) == 2
    assert "model.encoder.dim: 16 (checkpoint: 8)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_evaluation_without_a_checkpoint_is_refused(
    command: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--config", "tiny.yaml") == 2
    assert "needs --ckpt_path" in capsys.readouterr().err


def test_a_checkpoint_url_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "--config", "tiny.yaml", "--ckpt_path", "https://x.org/a.ckpt") == 2
    assert "ckpt_path must be a local file" in capsys.readouterr().err


def test_max_steps_between_validations_still_validates_and_saves(run: Run, corpus: Path) -> None:
    assert run("fit", "--config", "tiny.yaml", "--trainer.max_steps=1") == 0
    saved = torch.load(run_directories(corpus)[0] / "checkpoints" / "best.ckpt")
    assert saved["global_step"] == 1


def test_patience_stops_a_run_that_no_longer_improves(run: Run, corpus: Path) -> None:
    words = ("--config", "tiny.yaml", "--patience=1", "--model.learning_rate=1e-12")
    assert run("fit", *words, "--trainer.max_epochs=9") == 0
    saved = torch.load(run_directories(corpus)[0] / "checkpoints" / "last.ckpt")
    assert saved["epoch"] == 1


def test_a_checkpoint_callback_of_the_user_wins(run: Run, corpus: Path) -> None:
    callback = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"filename": "mine"},
    }
    (corpus / "own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
    assert run("fit", "--config", "tiny.yaml", "--config", "own.yaml") == 0
    kept = [path.name for path in (run_directories(corpus)[0] / "checkpoints").iterdir()]
    assert kept == ["mine.ckpt"]


def test_fit_without_validation_data_keeps_the_newest_as_best(run: Run, corpus: Path) -> None:
    assert run("fit", "--config", "tiny.yaml", "--data.val=null") == 0
    saved = SavedHead.read(run_directories(corpus)[0] / "checkpoints" / "best.ckpt")
    assert saved.spec["class_path"] == "seqattn.TokenLabeling"


def test_a_run_that_has_moved_still_resumes_with_its_best(
    trained: Path, run: Run, corpus: Path
) -> None:
    content = (trained / "checkpoints" / "best.ckpt").read_bytes()
    moved = trained.rename(corpus / "moved") / "checkpoints"
    words = ("--config", "tiny.yaml", "--trainer.max_epochs=2", "--model.learning_rate=1e-12")
    assert run("fit", *words, "--ckpt_path", moved / "last.ckpt") == 0
    assert (run_directories(corpus)[0] / "checkpoints" / "best.ckpt").read_bytes() == content


def test_a_run_whose_parents_best_is_gone_finds_and_reports_its_own(
    trained: Path, run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "checkpoints" / "best.ckpt").unlink()
    words = ("--config", "tiny.yaml", "--trainer.max_epochs=2", "--model.learning_rate=1e-12")
    assert run("fit", *words, "--ckpt_path", trained / "checkpoints" / "last.ckpt") == 0
    best = run_directories(corpus)[1] / "checkpoints" / "best.ckpt"
    assert torch.load(best)["epoch"] == 1
    assert f"best checkpoint  {best}" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["bf16", "average"], ["ema", "wandb"]])
def test_overlays_stack_and_run(names: list[str], run: Run, corpus: Path) -> None:
    words = [word for name in names for word in ("--config", ROOT / "configs" / f"{name}.yaml")]
    assert run("fit", "--config", "tiny.yaml", *words) == 0
    checkpoints = run_directories(corpus)[0] / "checkpoints"
    assert (checkpoints / "average.ckpt").is_file() == ("average" in names)
    for path in checkpoints.iterdir():
        assert seqattn.load(path).predict([["the"]])


@pytest.mark.parametrize("options", [[], ["--data.val=null"]])
def test_the_average_holds_the_last_weights_where_no_validation_met_them(
    options: list[str], run: Run, corpus: Path
) -> None:
    overlay = ("--config", "tiny.yaml", "--config", ROOT / "configs" / "average.yaml")
    assert run("fit", *overlay, "--trainer.max_steps=1", *options) == 0
    checkpoints = run_directories(corpus)[0] / "checkpoints"
    mean, last = (
        torch.load(checkpoints / f"{name}.ckpt")["state_dict"] for name in ("average", "last")
    )
    torch.testing.assert_close(mean, last)


def test_an_average_of_a_short_run_is_about_as_good_as_its_weights(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--config", "tiny.yaml", "--trainer.max_epochs=6")
    scores = []
    for overlay in ([], ["--config", ROOT / "configs" / "ema.yaml"]):
        assert run("fit", *words, *overlay) == 0
        lines = capsys.readouterr().out.splitlines()
        scores += [float(line.split()[1]) for line in lines if line.startswith("val/accuracy")]
    plain, averaged = scores
    assert plain > 0.9
    assert averaged > plain - 0.1


def test_two_processes_train_one_model_in_one_run(
    corpus: Path, forked: Callable[..., tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ("--config", "tiny.yaml", "--config", ROOT / "configs" / "ddp.yaml")
    child, terminal = forked("fit", *words, "--trainer.max_epochs=2")
    shown = read_all(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert shown.count("best checkpoint") == 1
    (directory,) = run_directories(corpus)
    saved = torch.load(directory / "checkpoints" / "last.ckpt")
    assert saved["SequenceData"]["world_size"] == 2
    assert seqattn.load(directory / "checkpoints" / "best.ckpt").predict([["the", "dog"]])
    with (directory / "metrics.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["val/accuracy"]]) == 2


def test_two_processes_predict_every_example_once(trained: Path, run: Run, corpus: Path) -> None:
    write_conllu(corpus / "many.conllu", 23, seed=3)
    words = [
        *("predict", "--config", "tiny.yaml", "--ckpt_path", "best"),
        *("--trainer.strategy=ddp_fork", "--trainer.devices=2"),
        *("--data.predict=seqattn.data.Conllu", "--data.predict.path=many.conllu"),
        *("--predictions.format=conllu", "--predictions.hidden_states=[1]"),
    ]
    assert run(*words) == 0
    assert len(run_directories(corpus)) == 2
    directory = run_directories(corpus)[1]
    rows = [json.loads(line) for line in (directory / "predictions.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == [f"many-{number}" for number in range(23)]
    with np.load(directory / "hidden_states.npz") as states:
        assert states.files == [row["key"] for row in rows]
    assert not list(directory.glob("*.part"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_saves_and_says_so_by_its_exit_code(
    number: signal.Signals, code: int, corpus: Path, forked: Callable[..., tuple[int, int]]
) -> None:
    words = ("--trainer.max_epochs=100000", "--trainer.enable_progress_bar=false")
    child, terminal = forked("fit", "--config", "tiny.yaml", *words)
    read_until(terminal, "epoch 2 ")
    os.kill(child, number)
    read_all(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    SavedHead.read(run_directories(corpus)[0] / "checkpoints" / "last.ckpt")


def test_fit_lists_what_it_took_from_another_checkpoint(
    trained: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained / "checkpoints" / "best.ckpt"
    words = (f"--model.init_from={path}", "--model.encoder.depth=2")
    assert run("fit", "--config", "tiny.yaml", *words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("init_from")]
    head = seqattn.load(path)
    counts = {
        part: sum(name.startswith(part) for name in head.state_dict())
        for part in ("encoder.", "encoder.layers.", "frontend.", "output.")
    }
    assert len(lines) == 1
    assert f"encoder ({counts['encoder.']}), frontend ({counts['frontend.']})" in lines[0]
    assert f"output ({counts['output.']})); new: encoder ({counts['encoder.layers.']})" in lines[0]


def test_fit_says_how_many_examples_it_drops(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data.batch_tokens=4", "--data.too_long=drop")
    assert run("fit", "--config", "tiny.yaml", *words) == 0
    assert "of 16 training examples, which are longer than batch_tokens = 4" in (
        capsys.readouterr().err
    )


def test_a_run_shorter_than_the_logging_interval_logs_its_training(run: Run, corpus: Path) -> None:
    assert run("fit", "--config", "tiny.yaml", "--trainer.log_every_n_steps=50") == 0
    with (run_directories(corpus)[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", "train/learning_rate", "train/tokens_per_second"):
        assert len([float(row[name]) for row in rows if row[name]]) == 1, name
