"""The loggers of a run: ``metrics.csv`` always, Weights & Biases where it is installed."""

from __future__ import annotations

import importlib.util
import netrc
import os
import socket
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from seqattn.callbacks.metrics_file import MetricsFile
from seqattn.callbacks.wandb import start_run

Mode = Literal["auto", "online", "offline", "disabled"]
Connection = Literal["online", "offline"]
_REACH_SECONDS = 3.0


@dataclass(frozen=True)
class WandbSettings:
    """How a run is logged to Weights & Biases.

    Args:
        mode: ``auto`` is online with an API key and offline without; WANDB_MODE decides first.
        project: where the run is filed; WANDB_PROJECT, else ``seqattn``.
        entity: the user or team; WANDB_ENTITY, else the account's default.
        group: what the run is grouped with.
        tags: words to find the run by.
        name: the run's; its config's name and time by default.
        artifacts: upload the best and the last checkpoint.
        samples: how many validation examples are shown with their predictions; 0 for none.
    """

    mode: Mode = "auto"
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    name: str | None = None
    artifacts: bool = False
    samples: int = 16


def make_loggers(given: Any, settings: WandbSettings, directory: Path) -> list[Logger]:
    """Return the loggers of a run in `directory`.

    Args:
        given: the config's ``trainer.logger``: loggers replace W&B, False turns it off.
        settings: of W&B.
        directory: the run's; it exists on rank 0.
    """
    loggers: list[Logger] = [MetricsFile(directory)]
    if isinstance(given, Logger | list):
        return [*loggers, *(given if isinstance(given, list) else [given])]
    wandb = None if given is False else _wandb_logger(settings, directory)
    return [*loggers, wandb] if wandb is not None else loggers


def choose_mode(settings: WandbSettings) -> Literal["online", "offline", "disabled"]:
    """Return whether W&B runs online; it never has to ask for a key."""
    asked = os.environ.get("WANDB_MODE", settings.mode)
    if asked in ("disabled", "offline", "dryrun"):
        return "disabled" if asked == "disabled" else "offline"
    return "online" if _has_key() else "offline"


@rank_zero_only
def _wandb_logger(settings: WandbSettings, directory: Path) -> Logger | None:
    mode = choose_mode(settings)
    if mode == "disabled" or importlib.util.find_spec("wandb") is None:
        return None
    if mode == "online" and not _can_reach(_base_url()):
        warnings.warn(
            f"W&B's server {_base_url()} does not answer: this run is logged offline "
            f"(later: wandb sync {directory}/wandb/latest-run)",
            stacklevel=2,
        )
        mode = "offline"
    failure: Exception | None = None
    attempts: tuple[Connection, ...] = ("online", "offline") if mode == "online" else ("offline",)
    for attempt in attempts:
        try:
            return start_run(settings, directory, attempt)
        except Exception as error:  # a broken installation or a refused key must not stop a run
            failure = failure or error
    reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
    warnings.warn(f"W&B could not be used, metrics.csv has the metrics: {reason}", stacklevel=2)
    return None


def _base_url() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _has_key() -> bool:
    """Return whether the environment or ~/.netrc holds a key for the server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return (
            netrc.netrc(str(path)).authenticators(urlsplit(_base_url()).hostname or "") is not None
        )
    except (OSError, netrc.NetrcParseError):
        return False


def _can_reach(url: str) -> bool:
    """Return whether somebody listens there, within seconds; a proxy is trusted to."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_REACH_SECONDS):
            return True
    except OSError:
        return False
