"""What every test runs under: a seed, no network, nobody's W&B account, nobody's caches."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "seqattn", deadline=None, derandomize=True, max_examples=25, database=None
)
hypothesis.settings.load_profile("seqattn")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device that device-free tests run on")


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the process before any test module imports a library that reads these."""
    device = torch.device(config.getoption("--device"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device must be available here, got {device}")
    caches = Path(tempfile.mkdtemp(prefix="seqattn-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(caches, ignore_errors=True))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(caches / "huggingface")
    os.environ["MPLCONFIGDIR"] = str(caches / "matplotlib")
    os.environ["MPLBACKEND"] = "agg"
    # Tiny tensors: a second thread costs more than it computes. And a child that some tests fork
    # would wait for ever for the threads that its parent had.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of this run: the CPU, or what --device says."""
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Start every test from the same seed, with W&B offline and in a folder of its own."""
    torch.manual_seed(0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # what a test's run sets is taken away after it
    monkeypatch.delenv("PL_GLOBAL_SEED")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path_factory.getbasetemp()))
