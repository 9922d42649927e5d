"""What `seqattn fit --help` costs beside the import of LightningCLI alone, in CPU seconds."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

_ALONE = "import lightning.pytorch.cli"
_HELP = "from seqattn.cli import main; main(['fit', '--help'])"


def main() -> None:
    """Print the best of several turns of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the best counts")
    turns = parser.parse_args().turns
    if turns < 1:
        parser.error(f"--turns must be at least 1, got {turns}")
    pairs = [(cpu_seconds(_ALONE), cpu_seconds(_HELP)) for _ in range(turns)]
    alone, helped = (min(seconds) for seconds in zip(*pairs, strict=True))
    print(f"import of LightningCLI  {alone:.2f} s")
    print(f"seqattn fit --help      {helped:.2f} s")
    print(f"ratio                   {helped / alone:.2f}")


def cpu_seconds(code: str) -> float:
    """Return the CPU seconds of a new interpreter that runs some code."""
    lines = f"import time\n{code}\nprint(time.process_time())"
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", lines], env=environ, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
