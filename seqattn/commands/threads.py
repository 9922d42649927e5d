"""How many threads a command computes with: what affinity and the container's quota leave."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def user_set_threads() -> bool:
    """Return whether the environment fixes the number of threads."""
    return any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))


def share_threads(processes: int) -> None:
    """Divide the cores among the processes of this machine, unless the user set threads."""
    if processes > 1 and not user_set_threads():
        threads = max(1, usable_cores() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # for the processes that Lightning starts
        torch.set_num_threads(threads)


def usable_cores(root: Path = Path("/sys/fs/cgroup"), self_cgroup: str | None = None) -> int:
    """Return the cores that affinity and the container's CPU quota leave to this process.

    Args:
        root: where the cgroup file system is mounted.
        self_cgroup: text of /proc/self/cgroup; read where left out.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = _read(Path("/proc/self/cgroup")) if self_cgroup is None else self_cgroup
    quotas = [*_quotas_v2(root, text), *_quotas_v1(root, text)]
    return max(1, min([cores or 1, *(int(quota) for quota in quotas)]))


def _quotas_v2(root: Path, text: str) -> list[float]:
    """Read cpu.max of the process's own group and of every group above it."""
    own = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "/")
    folder = root / own.strip("/")
    folders = [folder, *(above for above in folder.parents if above.is_relative_to(root))]
    pairs = [_read(place / "cpu.max").split() for place in folders]
    return [_ratio(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] != "max"]


def _quotas_v1(root: Path, text: str) -> list[float]:
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    own = [row[2] for row in rows if "cpu" in row[1].split(",")]
    found = []
    for controller in ("cpu", "cpu,cpuacct"):
        for group in ["/", *own]:
            folder = root / controller / group.strip("/")
            quota = _read(folder / "cpu.cfs_quota_us").strip()
            period = _read(folder / "cpu.cfs_period_us").strip()
            if quota and period and int(quota) > 0:
                found.append(_ratio(quota, period))
    return found


def _ratio(quota: str, period: str) -> float:
    return max(1.0, int(quota) / int(period))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
