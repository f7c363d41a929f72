"""How long commands and imports take before they do anything, against what they cannot do without.

    python -m benchmarks.startup

In turn: ``pyro-vae --help`` against ``import click``, ``import pyro_vae`` against ``import pyro``,
and the same with all that ``fit`` and ``evaluate`` import.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15


def main() -> None:
    """Print the medians and the ratio pair by pair."""
    script = str(Path(sys.executable).parent / "pyro-vae")
    against = {
        "pyro-vae --help": ([script, "--help"], "import click"),
        "import pyro_vae": (_python("import pyro_vae"), "import pyro"),
        "pyro_vae.fit, pyro_vae.evaluate": (
            _python("import pyro_vae; pyro_vae.fit, pyro_vae.evaluate"),
            "import pyro",
        ),
    }
    for name, (command, other) in against.items():
        pairs = [(_seconds(command), _seconds(_python(other))) for _ in range(ROUNDS + 1)]
        pairs = pairs[1:]  # the first one reads the files from disk
        ours, theirs = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        ratios = sorted(a / b for a, b in pairs)
        print(f"{name} {ours * 1e3:.0f} ms, {other} {theirs * 1e3:.0f} ms (medians of {ROUNDS})")
        print(
            f"  ratio: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
