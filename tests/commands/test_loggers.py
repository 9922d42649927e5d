import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import seqattn
from seqattn.callbacks.metrics_file import MetricsFile
from seqattn.callbacks.wandb import SafeWandbLogger
from seqattn.commands import loggers
from seqattn.commands.loggers import WandbSettings, choose_mode, make_loggers
from tests.commands.conftest import Run, read_all


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def records(directory: Path) -> list[Any]:
    """Read an offline run's file back: 7 bytes of header, then LevelDB's log format.

    Blocks of 32,768 bytes hold chunks of checksum (4), length (2), kind (1) and data; a record is
    one chunk of kind 1, or one of kind 2, some of kind 3 and one of kind 4.
    """
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # a service that earlier tests started may still hold what it is to write
    content = next(directory.glob("wandb/offline-run-*/run-*.wandb")).read_bytes()
    found, data, place = [], b"", 7
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:  # too little is left of the block for a header
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            found.append(record)
            data = b""
    return found


def history(directory: Path) -> dict[str, Any]:
    """Return the last value of everything that was logged."""
    values: dict[str, Any] = {}
    for record in records(directory):
        for item in record.history.item:
            values[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    return values


def test_no_key_means_offline() -> None:
    assert choose_mode(WandbSettings()) == "offline"


def test_a_key_in_the_environment_or_in_netrc_means_online(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "x" * 40)
    assert choose_mode(WandbSettings()) == "online"
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert choose_mode(WandbSettings()) == "online"


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_environment_decides_before_the_config(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert choose_mode(WandbSettings(mode="online")) == mode


def test_loggers_of_the_user_stand_beside_the_csv(tmp_path: Path) -> None:
    own = MetricsFile(tmp_path)
    made = make_loggers(own, WandbSettings(), tmp_path)
    assert isinstance(made[0], MetricsFile)
    assert made[1:] == [own]


def test_logger_false_keeps_the_csv(tmp_path: Path) -> None:
    assert [type(logger) for logger in make_loggers(False, WandbSettings(), tmp_path)] == [
        MetricsFile
    ]


@pytest.mark.parametrize("error", [OSError("broken installation"), RuntimeError("no service")])
def test_a_wandb_that_cannot_start_is_one_warning(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(loggers, "start_run", fail)
    with pytest.warns(UserWarning, match=f"W&B could not be used.*{error}") as caught:
        made = make_loggers(None, WandbSettings(), tmp_path)
    assert [type(logger) for logger in made] == [MetricsFile]
    assert len(caught) == 1


def test_a_server_that_does_not_answer_means_offline_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        modes = []
        monkeypatch.setattr(loggers, "start_run", lambda *words: modes.append(words[2]))
        with pytest.warns(UserWarning, match="does not answer.*wandb sync"):
            make_loggers(None, WandbSettings(), tmp_path)
    assert modes == ["offline"]


def test_a_run_that_fails_later_is_left_alone_after_one_warning(tmp_path: Path) -> None:
    class Broken:
        calls = 0

        def log(self, row: object) -> None:
            self.calls += 1
            raise BrokenPipeError("the service died")

    run = Broken()
    logger = SafeWandbLogger(run, tmp_path)
    with pytest.warns(UserWarning, match="the service died") as caught:
        logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.log_metrics({"train/loss": 1.0}, step=2)
    assert (run.calls, len(caught)) == (1, 1)


def test_an_offline_run_holds_all_that_a_run_logs(
    run: Run, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = {"project": "words", "entity": "team", "group": "g", "tags": ["a", "b"]}
    (corpus / "wandb.yaml").write_text(yaml.safe_dump({"wandb": {**options, "artifacts": True}}))
    assert run("fit", "--config", "tiny.yaml", "--config", "wandb.yaml") == 0
    directory = next((corpus / "runs" / "tiny").iterdir())
    logged = history(directory)
    scalars = {"train/loss", "train/learning_rate", "train/tokens_per_second", "val/accuracy"}
    assert scalars <= set(logged)
    matrix = table(directory, "confusion_matrix_table")
    targets = sum(len(e.target) for e in seqattn.data.Conllu("val.conllu", column="upos").read())
    assert sum(row[2] for row in matrix["data"]) == targets
    samples = table(directory, "samples")
    assert samples["columns"] == ["key", "source", "target", "prediction"]
    assert [row[0] for row in samples["data"]] == [f"val-{number}" for number in range(6)]
    started = next(record.run for record in records(directory) if record.run.run_id)
    assert (started.project, started.entity, started.run_group) == ("words", "team", "g")
    assert list(started.tags) == ["a", "b"]
    aliases = {alias for artifact in model_artifacts(directory) for alias in artifact.aliases}
    assert {"best", "last"} <= aliases


@pytest.mark.parametrize("method", ["predict_step", "confusion"])
def test_tables_that_fail_are_one_warning_and_no_end_of_the_run(
    method: str, run: Run, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such table")

    monkeypatch.setenv("WANDB_MODE", "offline")
    if method == "confusion":
        monkeypatch.setattr("seqattn.callbacks.wandb.confusion", fail)
    else:
        monkeypatch.setattr(seqattn.TokenLabeling, method, fail)
    with pytest.warns(UserWarning, match="W&B failed .* no such table") as caught:
        assert run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=2") == 0
    assert len([found for found in caught if "no such table" in str(found.message)]) == 1
    directory = next((corpus / "runs" / "tiny").iterdir())
    assert (directory / "checkpoints" / "best.ckpt").is_file()
    assert "val/accuracy" in (directory / "metrics.csv").read_text()


def model_artifacts(directory: Path) -> list[Any]:
    found = [
        record.request.log_artifact.artifact
        if record.request.HasField("log_artifact")
        else record.artifact
        for record in records(directory)
    ]
    return [artifact for artifact in found if artifact.type == "model"]


def table(directory: Path, name: str) -> dict[str, Any]:
    paths = directory.glob(f"wandb/offline-run-*/files/media/table/val/{name}_*.table.json")
    found: dict[str, Any] = json.loads(next(paths).read_text())
    return found


def test_the_resolved_config_reaches_wandb(
    run: Run, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert run("fit", "--config", "tiny.yaml", "--wandb.samples=0") == 0
    directory = next((corpus / "runs" / "tiny").iterdir())
    updates = [u for r in records(directory) for u in (*r.config.update, *r.run.config.update)]
    values = {update.key: json.loads(update.value_json) for update in updates}
    assert values["model"]["init_args"]["encoder"]["init_args"]["position"] == "rotary"


def test_nothing_is_asked_under_a_terminal(
    forked: Callable[..., tuple[int, int]], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_SILENT")
    monkeypatch.setenv("HOME", str(corpus))
    child, terminal = forked("fit", "--config", "tiny.yaml")
    shown = read_all(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "Enter your choice" not in shown
    assert "best checkpoint" in shown
