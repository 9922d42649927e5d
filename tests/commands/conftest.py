"""A tiny corpus, a config for it, and the command run in this process."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pty
import random
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from seqattn.cli import main

TAGS = {"the": "DET", "a": "DET", "dog": "NOUN", "cat": "NOUN", "sees": "VERB", "big": "ADJ"}
Run = Callable[..., int]


def write_conllu(path: Path, sentences: int, seed: int) -> None:
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(sentences):
            words = draw.choices(list(TAGS), k=draw.randint(2, 5))
            file.write(f"# sent_id = {path.stem}-{number}\n")
            for place, word in enumerate(words, start=1):
                row = [str(place), word, "_", TAGS[word], *["_"] * 6]
                file.write("\t".join(row) + "\n")
            file.write("\n")


def tiny_config() -> dict[str, object]:
    def reader(path: str) -> dict[str, object]:
        return {
            "class_path": "seqattn.data.Conllu",
            "init_args": {"path": path, "column": "upos"},
        }

    encoder = {"dim": 8, "depth": 1, "heads": 2}
    return {
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 2},
        "model": {
            "class_path": "seqattn.TokenLabeling",
            "init_args": {
                "frontend": {"class_path": "seqattn.TextFrontEnd", "init_args": {"units": "word"}},
                "encoder": {"class_path": "seqattn.Encoder", "init_args": encoder},
                "learning_rate": 0.02,
                "warmup_steps": 1,
            },
        },
        "data": {
            "class_path": "seqattn.SequenceData",
            "init_args": {
                "batch_tokens": 32,
                "train": reader("train.conllu"),
                "val": reader("val.conllu"),
            },
        },
    }


def read_until(terminal: int, text: str) -> str:
    """Return what a terminal shows up to a text, or to its end.

    Raises:
        RuntimeError: if it shows nothing new for two minutes.
    """
    shown = b""
    with contextlib.suppress(OSError):  # so does a terminal end
        while not text or text.encode() not in shown:
            if not select.select([terminal], [], [], 120)[0]:
                break
            piece = os.read(terminal, 65536)
            if not piece:
                return shown.decode(errors="replace")
            shown += piece
        else:
            return shown.decode(errors="replace")
        raise RuntimeError(f"the terminal must go on, it stands at {shown[-200:]!r}")
    return shown.decode(errors="replace")


def read_all(terminal: int) -> str:
    """Return what a terminal shows until its process ends."""
    return read_until(terminal, "")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with train.conllu, val.conllu and tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["seqattn"])
    write_conllu(tmp_path / "train.conllu", 16, seed=1)
    write_conllu(tmp_path / "val.conllu", 6, seed=2)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_config(), sort_keys=False))
    modules = set(sys.modules)
    with warnings.catch_warnings():
        yield tmp_path
    for name in set(sys.modules) - modules:  # a later test's my_head is another file
        if os.fspath(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def run(corpus: Path) -> Run:
    """The command `seqattn`, in this process and in the corpus's directory."""
    return lambda *words: main([str(word) for word in words])


@pytest.fixture
def forked(corpus: Path) -> Iterator[Callable[..., tuple[int, int]]]:
    """The command in a child process under a terminal of its own: its id and the terminal.

    A fork has everything imported already, which a new interpreter does for seconds.
    """
    children: list[int] = []

    def start(*words: object) -> tuple[int, int]:
        child, terminal = pty.fork()
        if child == 0:
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            # as `python -m seqattn` has them, for the processes that Lightning starts
            sys.argv = ["seqattn", *map(str, words)]
            sys.modules["__main__"].__spec__ = importlib.util.find_spec("seqattn.__main__")
            code = 1
            try:
                code = main([str(word) for word in words])
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
        return child, terminal

    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.fixture
def edit(corpus: Path) -> Callable[[str, str], None]:
    """Replace a piece of tiny.yaml, which must be there."""

    def replace(old: str, new: str) -> None:
        text = (corpus / "tiny.yaml").read_text()
        assert old in text
        (corpus / "tiny.yaml").write_text(text.replace(old, new, 1))

    return replace


@pytest.fixture
def trained(run: Run, corpus: Path) -> Path:
    """The run directory of one epoch of tiny.yaml."""
    assert run("fit", "--config", "tiny.yaml") == 0
    return next((corpus / "runs" / "tiny").iterdir())
