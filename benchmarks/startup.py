"""How long ``pyro-vae --help`` takes, against ``python -c "import click"``, in turn.

python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Print the medians and the ratio pair by pair."""
    script = str(Path(sys.executable).parent / "pyro-vae")
    commands = [[script, "--help"], [sys.executable, "-c", "import click"]]
    pairs = []
    for _ in range(16):
        pair = []
        for command in commands:
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            pair.append(time.perf_counter() - start)
        pairs.append(pair)
    pairs = pairs[1:]  # the first one reads the files from disk
    ours, click = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    ratios = sorted(a / b for a, b in pairs)
    print(f"pyro-vae --help {ours * 1e3:.0f} ms, import click {click * 1e3:.0f} ms (medians of 15)")
    print(f"ratio: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
