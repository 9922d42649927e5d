import os
from pathlib import Path

import pytest

from seqattn.commands.threads import usable_cores, user_set_threads


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_affinity_decides_without_a_quota(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, "0::/\n") == 8


@pytest.mark.parametrize(
    ("quota", "cores"), [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_quota_of_version_2_limits_the_threads(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "a" / "b" / "cpu.max", quota)
    assert usable_cores(tmp_path, "0::/a/b\n") == cores


def test_a_quota_of_a_group_above_counts_too(tmp_path: Path) -> None:
    write(tmp_path / "a" / "cpu.max", "300000 100000")
    write(tmp_path / "a" / "b" / "cpu.max", "max 100000")
    assert usable_cores(tmp_path, "0::/a/b\n") == 3


def test_a_quota_of_version_1_limits_the_threads(tmp_path: Path) -> None:
    write(tmp_path / "cpu" / "x" / "cpu.cfs_quota_us", "400000")
    write(tmp_path / "cpu" / "x" / "cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path, "4:cpu,cpuacct:/x\n") == 4


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "-1")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path, "4:cpu,cpuacct:/\n") == 8


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_users_own_setting_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert not user_set_threads()
    monkeypatch.setenv(name, "3")
    assert user_set_threads()
