from __future__ import annotations

import logging

import pytest

from tasks.python_language_model import PythonSource
from tasks.standard_library import choose_modules, read_sources


def test_chunks_are_consecutive_when_joined() -> None:
    reader = PythonSource("val", fraction=0.1, chunk=100)
    texts: dict[str, str] = {}
    for example in reader.read():
        module, _, offset = example.key.rpartition(":")
        texts[module] = texts.get(module, "")
        assert int(offset) == len(texts[module])
        assert 0 < len(example.source) <= 100
        assert example.target is None
        texts[module] += example.source

    assert texts == read_sources(choose_modules("val", 0.1))


def test_only_the_last_chunk_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tasks.python_language_model.read_sources", lambda modules: {"json": "# ab\nc = 1"}
    )
    examples = list(PythonSource("train", chunk=4).read())

    assert [(example.key, example.source) for example in examples] == [
        ("json:0", "# ab"),
        ("json:4", "\nc ="),
        ("json:8", " 1"),
    ]


def test_modules_are_listed_when_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = PythonSource("val", fraction=0.1)
    monkeypatch.setattr(
        "tasks.python_language_model.read_sources", lambda modules: {modules[0]: "a = 1\n"}
    )

    with caplog.at_level(logging.INFO, logger="tasks.python_language_model"):
        assert len(list(reader.read())) == 1

    assert reader.skipped == reader.modules[1:]
    assert f"val: of 3 modules skipped: {' '.join(reader.skipped)}" in caplog.text


def test_an_error_is_raised_when_chunk_is_below_one() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        PythonSource("train", chunk=0)


def test_the_modules_are_those_of_the_split_when_a_reader_is_made() -> None:
    assert PythonSource("test", fraction=0.5, seed=2).modules == choose_modules("test", 0.5, 2)
