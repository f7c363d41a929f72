"""What training costs on an array that stays on disk, beside the same array in memory.

    python -m experiments.larger_than_memory

writes a .npy file of 4 GB of random levels 1×28×28, reads it once, and trains on it twice, each
time in a process of its own: memory-mapped, and in memory. It prints a JSON line for each with the
images per second of all but the first steps and the most anonymous memory there was (RssAnon of
/proc/self/status: what the process holds itself, without the file's pages, which the system can
take back), and one with their ratios. It needs Linux, and memory for the array for the second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_vae as pv
from pyro_vae.training import Stopped
from pyro_vae.training.progress import Silent

SHAPE = (1, 28, 28)
BATCH = 128
SKIPPED = 50
"""Steps before the clock starts."""


class Clock(Silent):
    """Looks at clock and memory, and stops after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.began, self.rate, self.peak = steps, 0.0, 0.0, 0

    def step(self, step: int) -> None:
        """Look at them."""
        if step % 10 == 0:
            self.peak = max(self.peak, anonymous())
        if step == SKIPPED:
            self.began = time.perf_counter()
        if step == SKIPPED + self.steps:
            self.rate = self.steps * BATCH / (time.perf_counter() - self.began)
            raise Stopped


def anonymous() -> int:
    """Bytes of anonymous memory that this process has now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no RssAnon")


def write(path: Path, size: int) -> int:
    """Random images of so many bytes in all; their number."""
    count = size // int(np.prod(SHAPE))
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        part = array[start : start + 10_000]
        part[...] = rng.integers(0, 256, part.shape, np.uint8)
    array.flush()
    return count


def child(path: Path, mapped: bool, steps: int) -> dict[str, Any]:
    """Train for so many steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before, images = anonymous(), np.load(path, mmap_mode="r" if mapped else None)
    vae = pv.VAE(SHAPE, 20, "normal-learned-sigma")
    clock = Clock(steps)
    try:
        pv.fit(vae, images, 0.1, epochs=1_000, batch_size=BATCH, progress=clock)
    except Stopped:
        return {
            "images": "on disk" if mapped else "in memory",
            "images_per_second": round(clock.rate),
            "anonymous_gb": round(clock.peak / 1e9, 3),
            "anonymous_before_gb": round(before / 1e9, 3),
        }
    raise RuntimeError("the run ended by itself")


def in_a_process(path: Path, mapped: bool, steps: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "experiments.larger_than_memory", "--child", str(path)]
    command += ["--steps", str(steps)] + ["--mapped"] * mapped
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Write the file, and train on it both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=1000, help="steps that are timed")
    parser.add_argument("--folder", help="where to write the file, a temporary folder by default")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mapped", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(child(options.child, options.mapped, options.steps)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "images.npy")
        count = write(path, int(options.gigabytes * 1e9))
        with path.open("rb") as stream:  # the warm pass
            while stream.read(1 << 24):
                pass
        on_disk, in_memory = (in_a_process(path, mapped, options.steps) for mapped in (True, False))
    rates = on_disk["images_per_second"] / in_memory["images_per_second"]
    print(json.dumps({"images": count, "rate_to_in_memory": round(rates, 3)}))


if __name__ == "__main__":
    main()
