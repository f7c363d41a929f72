"""A sweep of 8 cells and 3 seeds: one worker against two, and one that is killed and started again.

    python -m benchmarks.sweep

prints a JSON line: seconds with 1 and with 2 workers of one thread each, their ratio, whether all
models are the same bits, and of a sweep with 2 workers that got SIGKILL in the middle, how many
runs were finished by then and whether any of those was trained again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
title = "Eight weights of the KL"
seeds = [0, 1, 2]
[base]
obs = "bernoulli"
epochs = 15
[grid]
beta = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
"""
RUNS = 24


def start(spec: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own."""
    words = ["-m", "pyro_vae_cli", "compare", str(spec), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, *words, "--workers", str(workers), "--threads", "1"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def timed(spec: Path, out: Path, workers: int) -> float:
    """Seconds that a sweep takes."""
    began = time.perf_counter()
    if start(spec, out, workers).wait() != 0:
        raise SystemExit("the sweep failed")
    return time.perf_counter() - began


def results(out: Path) -> dict[str, int]:
    """Finished runs and when each was finished."""
    found = out.rglob("result.json")
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


def models(out: Path) -> dict[str, bytes]:
    """Weights of all runs."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("model.safetensors")}


def main() -> None:
    """Run all four."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "spec.toml"
        spec.write_text(SPEC)
        one, two = (timed(spec, folder / str(n), n) for n in (1, 2))
        print(f"1 worker {one:.1f} s, 2 workers {two:.1f} s", file=sys.stderr)
        killed = folder / "killed"
        process = start(spec, killed, 2)
        while len(results(killed)) < RUNS // 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2)  # its workers see that it is gone
        before = results(killed)
        timed(spec, killed, 2)
        after = results(killed)
        same = models(folder / "1") == models(folder / "2") == models(killed)
        line = {
            "one_worker": round(one, 1),
            "two_workers": round(two, 1),
            "ratio": round(one / two, 2),
            "runs": len(after),
            "finished_before_the_kill": len(before),
            "of_these_repeated": sum(after[key] != value for key, value in before.items()),
            "bit_identical": same and len(models(killed)) == RUNS,
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
