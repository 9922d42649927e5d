from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from seqattn import DataError
from tasks.standard_library import MODULES, choose_modules, read_sources, split_of

SPLITS = ("train", "val", "test")


def test_modules_are_in_order_and_each_once() -> None:
    assert list(MODULES) == sorted(set(MODULES))
    assert not [name for name in MODULES if name.split(".")[0] in ("test", "idlelib", "tkinter")]


def test_splits_part_the_modules_when_all_are_taken() -> None:
    parts = {split: choose_modules(split) for split in SPLITS}  # type: ignore[arg-type]

    assert sorted(sum(parts.values(), [])) == list(MODULES)
    assert all(split_of(name) == split for split in SPLITS for name in parts[split])


@pytest.mark.parametrize("module", ["json", "json.tool", "xml.dom"])
def test_the_split_rests_on_the_name_only(module: str) -> None:
    digit = zlib.crc32(module.encode()) % 10
    assert split_of(module) == {0: "val", 1: "test"}.get(digit, "train")


def test_a_smaller_fraction_is_part_of_a_larger_when_the_seed_is_the_same() -> None:
    small, large = choose_modules("train", 0.1, seed=3), choose_modules("train", 0.5, seed=3)

    assert set(small) < set(large) < set(choose_modules("train"))
    assert len(small) == -(-len(choose_modules("train")) // 10)
    assert set(small) != set(choose_modules("train", 0.1, seed=4))


def test_one_module_is_left_when_the_fraction_is_tiny() -> None:
    assert len(choose_modules("val", 1e-9)) == 1


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_an_error_is_raised_when_the_fraction_is_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"fraction must be in \(0, 1\], got {fraction}"):
        choose_modules("train", fraction)


def test_an_error_is_raised_when_the_split_is_unknown() -> None:
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        choose_modules("dev")  # type: ignore[arg-type]


def test_sources_are_read_from_files_and_packages(tmp_path: Path) -> None:
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_bytes(b"a = 1\r\n")
    (tmp_path / "pack" / "inner" / "__init__.py").write_text("b = 2\n")
    (tmp_path / "pack" / "leaf.py").write_bytes(b"# coding: latin-1\n# \xe4\n")

    found = read_sources(["pack", "pack.inner", "pack.leaf"], tmp_path)

    assert found == {
        "pack": "a = 1\n",
        "pack.inner": "b = 2\n",
        "pack.leaf": "# coding: latin-1\n# ä\n",
    }


def test_modules_are_left_out_when_they_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("a = 1\n")
    (tmp_path / "coded.py").write_bytes(b"# coding: no-such-code\n")
    (tmp_path / "broken.py").write_bytes(b"# \xff\n")

    assert list(read_sources(["absent", "good.inner", "coded", "broken", "good"], tmp_path)) == [
        "good"
    ]


def test_an_error_names_the_folder_when_no_module_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be there as .py files, got none of 2 .*'abc'"):
        read_sources(["abc", "ast"], tmp_path)


def test_most_modules_are_there_on_the_running_python() -> None:
    assert len(read_sources(MODULES)) > 0.9 * len(MODULES)
