"""Where a run writes, and where earlier runs of the same config left their checkpoints."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DIRECTORY_VARIABLE = "SEQATTN_RUN_DIRECTORY"
CHECKPOINT_VARIABLE = "SEQATTN_CKPT_PATH"


@dataclass(frozen=True)
class Runs:
    """The runs of one config: ``<root>/runs/<name>/<time>/``.

    Args:
        root: the Trainer's default root directory.
        name: the config's name.
    """

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where the runs lie side by side."""
        return self.root / "runs" / self.name

    def create(self, now: Callable[[], time.struct_time] = time.localtime) -> Path:
        """Make a directory that no other run has, and return it."""
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", now())
        self.folder.mkdir(parents=True, exist_ok=True)
        for suffix in _suffixes():
            directory = self.folder / f"{stamp}{suffix}"
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory
        raise AssertionError("unreachable")

    def newest_valid(self, which: str, check: Callable[[Path], object]) -> Path:
        """Return the newest checkpoint that can be read, naming on stderr each that cannot.

        Args:
            which: ``"last"`` for any checkpoint to go on from, or ``"best"``.
            check: raises ValueError for a file that is no whole checkpoint.

        Raises:
            ValueError: if there is none.
        """
        pattern = "best.ckpt" if which == "best" else "*.ckpt"
        found = [path for path in self.folder.glob(f"*/checkpoints/{pattern}") if _resumes(path)]
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            try:
                check(path)
            except ValueError as error:
                print(f"skipped a damaged checkpoint: {error}", file=sys.stderr)
                continue
            return path
        raise ValueError(
            f"ckpt_path={which} must find a valid checkpoint under {self.folder}, got none"
        )


def remove_unused(directory: Path) -> None:
    """Remove the directory of a run that failed before it wrote its config, and empty ones above.

    A run writes its config when everything is made and read; before that only loggers were there.
    """
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else {"config.yaml"}
    if not names <= {"metrics.csv", "wandb"}:
        return
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # other runs are there
        for folder in (directory.parent, directory.parent.parent):
            folder.rmdir()


def config_name(paths: list[str], checkpoint: str | None) -> str:
    """Return the name of a config's runs: the first file's, or that of the checkpoint's run."""
    if paths:
        return Path(paths[0]).stem
    parts = Path(checkpoint).absolute().parts if checkpoint else ()
    is_run = len(parts) >= 5 and parts[-2] == "checkpoints" and parts[-5] == "runs"
    return parts[-4] if is_run else "unnamed"


def is_child_process() -> bool:
    """Return whether a launcher started this process beside rank 0."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return any(os.environ.get(name, "0") not in ("", "0") for name in ranks)


def _suffixes() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def _resumes(path: Path) -> bool:
    """A mean of weights is no state of training; what an exception left may hold NaN."""
    return path.stem not in ("average", "on_exception")
