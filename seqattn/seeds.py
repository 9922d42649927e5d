"""Seeds from seeds: random numbers as a function of what they are for, not of what came before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(name: str) -> Iterator[None]:
    """Draw inside as the seed of `seed_everything` and a name say, and leave no trace outside.

    Without `seed_everything` nothing changes.
    """
    seed = os.environ.get("PL_GLOBAL_SEED")
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(int(seed), name))
        yield


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on their order."""
    text = ",".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
