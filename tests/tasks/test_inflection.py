from __future__ import annotations

from pathlib import Path

import pytest

from seqattn import DataError, Example
from tasks.inflection import Inflection


def test_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / "german-dev").write_text("ja\tjas\tN;PL\n", encoding="utf-8")
    assert list(Inflection(str(tmp_path / "german-dev")).read()) == [
        Example(["<N>", "<PL>", "j", "a"], "jas", "german-dev:1")
    ]


def test_origin_is_named_when_the_file_is_missing() -> None:
    with pytest.raises(DataError, match="there is no such file; the data is at https://"):
        list(Inflection("none").read())
