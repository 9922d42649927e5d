import contextlib
import logging
import os
import warnings

import pytest
import torch

from seqattn.commands.process_settings import process_settings

LIGHTNING = logging.getLogger("lightning.pytorch")


def test_a_command_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    level, filters, threads = LIGHTNING.level, list(warnings.filters), torch.get_num_threads()
    with contextlib.suppress(KeyError), process_settings(debug=False):
        assert LIGHTNING.level == logging.WARNING
        torch.set_num_threads(threads + 1)
        os.environ["OMP_NUM_THREADS"] = "3"
        os.environ["PL_GLOBAL_SEED"] = "8"
        raise KeyError
    assert LIGHTNING.level == level
    assert list(warnings.filters) == filters
    assert torch.get_num_threads() == threads
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["PL_GLOBAL_SEED"] == "7"


def test_debug_shows_what_lightning_says() -> None:
    level = LIGHTNING.level
    with process_settings(debug=True):
        assert LIGHTNING.level == level
