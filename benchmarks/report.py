"""A report on a sweep of 24 runs: how large it is and how long it takes.

    python -m benchmarks.report [SWEEP]

trains 8 cells at 3 seeds (unless the folder of a SWEEP is given, which is left as it is) and prints
a JSON line: runs, seconds of `pyro-vae report` from start to end on one thread and the seconds of
processor time in it, megabytes of the page, and the number of figures beside it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
title = "Two observations, four weights of the KL"
seeds = [0, 1, 2]
[base]
epochs = 12
[grid]
obs = ["bernoulli", "normal-learned-sigma"]
beta = [0.5, 1, 4, 16]
[[claims]]
statement = "a heavier KL leaves fewer active units"
score = "active_units"
of = { beta = 16 }
is = "<"
than = { beta = 0.5 }
"""


def command(*words: object) -> None:
    """Run pyro-vae on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "pyro_vae_cli", *map(str, words)]
    subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL)


def measured(sweep: Path, out: Path) -> dict[str, float]:
    """The report's size, and the seconds that it takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command("report", sweep, "--out", out)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "runs": len(list(sweep.glob("*/seed-*/config.json"))),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "megabytes": round(out.stat().st_size / 1e6, 2),
        "figures": len(list(out.with_name("report-figures").glob("*.svg"))),
    }


def main() -> None:
    """Train where there is no sweep, and report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "sweep"
        if len(sys.argv) == 1:
            (folder / "spec.toml").write_text(SPEC)
            command("compare", folder / "spec.toml", "--out", sweep, "--workers", 2)
        print(json.dumps(measured(sweep, folder / "report.html")))


if __name__ == "__main__":
    main()
