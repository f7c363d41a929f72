"""This checkout against another one, as the last release's: seconds of the same calls in turns.

    git worktree add ../before REVISION
    python -m benchmarks.releases ../before
    python -m benchmarks.releases ../before --only fit --rounds 15

Each version runs in a process of its own that stays; rounds go back and forth between the two. A
ratio is the other's time over this one's: above 1 this one is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common

__all__ = ["main"]

HERE = Path(__file__).resolve().parents[1]


def calls(threads: int) -> dict[str, Callable[[], Any]]:
    """What is timed, in the words that both versions know."""
    import torch

    import pyro_vae as pv

    torch.set_num_threads(threads)
    digits = pv.data.load("mnist-5k")
    made: dict[str, Callable[[], Any]] = {}
    for net in ("mlp", "conv"):
        torch.manual_seed(0)
        vae = pv.VAE((1, 28, 28), 20, "normal-learned-sigma", net)
        pv.fit(vae, digits.train[:512], epochs=2, compile="off")
        made[f"evaluate {net}"] = lambda vae=vae: pv.evaluate(  # type: ignore[misc]
            vae, digits.test, train=digits.train
        )
        made[f"diagnose {net}"] = lambda vae=vae: pv.diagnose(vae, digits.test)  # type: ignore[misc]
        made[f"bound {net}"] = (
            lambda vae=vae: pv.evaluate(  # type: ignore[misc]
                vae, digits.test[:250], iwae=20, parts=()
            )
        )
        made[f"fit {net}"] = (
            lambda net=net: pv.fit(  # type: ignore[misc]
                pv.VAE((1, 28, 28), 20, "normal-learned-sigma", net),
                digits.train[:2560],
                epochs=2,
                compile="off",
            )
        )
    return made


def work(threads: int) -> None:
    """Run what each line of stdin names, and answer with its seconds."""
    made = calls(threads)
    for line in sys.stdin:
        began = time.perf_counter()
        made[line.strip()]()
        print(time.perf_counter() - began, flush=True)


class Version:
    """A process that has one version imported."""

    def __init__(self, checkout: Path, threads: int) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "OMP_NUM_THREADS": str(threads),
        }
        # By its path: the other checkout may not have this file.
        words = [sys.executable, str(Path(__file__).resolve()), str(checkout), "--work"]
        self.process = subprocess.Popen(
            [*words, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def seconds(self, name: str) -> float:
        """Of one call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="Checkout of the other version.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", nargs="*", default=[], help="Names of calls, or their beginnings."
    )
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.threads)
    versions = {
        "before": Version(options.before.resolve(), options.threads),
        "now": Version(HERE, options.threads),
    }
    kinds = ("evaluate", "diagnose", "bound", "fit")
    names = [f"{kind} {net}" for kind in kinds for net in ("mlp", "conv")]
    found: dict[str, Any] = {}
    for name in names:
        if options.only and not name.startswith(tuple(options.only)):
            continue
        times: common.Times = {version: [] for version in versions}
        for number in range(options.rounds + 1):
            for version, process in versions.items():
                seconds = process.seconds(name)
                if number:  # the first is a warm-up
                    times[version].append(seconds)
        found[name] = {
            "seconds": {version: min(own) for version, own in times.items()},
            "times as fast": common.ratio(times, "now", "before"),
        }
        print(name, json.dumps(found[name]), flush=True)
    found["machine"] = common.machine()
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
