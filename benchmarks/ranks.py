"""Weak scaling: images per second of 2 processes over those of 1, each with a thread and its batch.

    python -m benchmarks.ranks

trains the 784-400-20 network with bernoulli on random images, at 1,024 and at 128 images per
process, in turns, and prints for each the median over rounds of the rate with 2 processes over that
with 1, all in one run. A process that needs a core of its own and has none shows as a low ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import distributed

import pyro_vae as pv

STEPS = 40


def child(store: str, rank: int, size: int, batch: int) -> None:
    """One process: prints its rate, in images per second of all."""
    torch.set_num_threads(1)
    if size > 1:
        kept = distributed.FileStore(store, size)
        distributed.init_process_group("gloo", store=kept, rank=rank, world_size=size)
    images = torch.randint(256, (batch * size * STEPS, 1, 28, 28), dtype=torch.uint8)
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 20, "bernoulli")
    history = pv.fit(vae, images, epochs=2, batch_size=batch * size, checkpoint="off")
    rates = [record["images_per_second"] for record in history.steps[STEPS + 5 :]]
    if rank == 0:
        print(json.dumps(statistics.median(rates)))
    if size > 1:
        distributed.destroy_process_group()


def rate(size: int, batch: int) -> float:
    """Images per second of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.ranks", "--child", str(Path(folder) / "store")]
        numbers = ["--size", str(size), "--batch", str(batch), "--rank"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(
                [*command, *numbers, str(rank)], stdout=subprocess.PIPE, text=True, env=environment
            )
            for rank in range(size)
        ]
        said = [process.communicate()[0] for process in processes]
    return float(json.loads(said[0]))


def main() -> None:
    """Print a JSON line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    for name in ("rank", "size", "batch"):
        parser.add_argument(f"--{name}", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.rank, options.size, options.batch)
        return
    for batch in (1024, 128):
        pairs = [(rate(1, batch), rate(2, batch)) for _ in range(options.rounds)]
        ratios = sorted(two / one for one, two in pairs)
        said = {
            "images_per_process": batch,
            "ratio": round(statistics.median(ratios), 2),
            "least": round(ratios[0], 2),
            "most": round(ratios[-1], 2),
            "one": round(statistics.median(one for one, _ in pairs)),
            "two": round(statistics.median(two for _, two in pairs)),
        }
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
