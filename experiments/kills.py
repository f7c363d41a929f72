"""A run that is killed again and again, and what it loses.

    python -m experiments.kills

trains on mnist-5k, sends SIGKILL at random moments, a third of them while a checkpoint is being
written, resumes each time, and compares the weights with those of a run that nobody disturbed. It
prints a JSON line per kill and one for the end: the most steps that a kill has cost, of how many
between two checkpoints, and whether the weights are the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file

import pyro_vae as pv
from pyro_vae.training.checkpoints import FOLDER
from pyro_vae.training.progress import Silent


class Told(Silent):
    """Prints the step."""

    def step(self, step: int) -> None:
        """Print it."""
        print(step, flush=True)


def child(out: Path, epochs: int, every: int) -> None:
    """Train, or go on."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = pv.data.load("mnist-5k")
    vae = pv.VAE((1, 28, 28), 20, "normal-learned-sigma")
    options = {"epochs": epochs, "checkpoint": str(every)}
    pv.fit(
        vae,
        data.train,
        data.test,
        out=out,
        resume=True,
        progress=Told(),
        keep_best=False,
        **options,
    )


def start(out: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "experiments.kills", "--child", str(out)]
    command += ["--epochs", str(options.epochs), "--every", str(options.every)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed(out: Path, options: argparse.Namespace, after: int, in_write: bool) -> list[int]:
    """Steps done until the kill, which comes after so many of them."""
    steps = []
    with start(out, options) as process:
        assert process.stdout is not None
        for line in process.stdout:
            steps.append(int(line))
            if len(steps) < after:
                continue
            while in_write and not list((out / FOLDER).glob(".writing-*")):
                if process.poll() is not None:
                    break
            os.kill(process.pid, signal.SIGKILL)
            break
        steps += [int(line) for line in process.stdout]
    return steps


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--every", type=int, default=5, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.epochs, options.every)
        return
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Both runs."""
    whole, rng = folder / "whole", random.Random(options.seed)
    with start(whole, options) as process:
        assert process.stdout is not None
        total = len(process.stdout.readlines())
    runs, in_writes = [], 0
    for kill in range(options.kills):
        in_write = kill % 3 == 0
        after = rng.randint(1, 2 * total // options.kills)
        runs.append(killed(folder / "killed", options, after, in_write))
        left = len(list((folder / "killed" / FOLDER).glob(".writing-*")))
        in_writes += left > 0
        record = {"kill": kill + 1, "from": runs[-1][0], "to": runs[-1][-1], "in_write": left > 0}
        print(json.dumps(record), flush=True)
    with start(folder / "killed", options) as process:
        assert process.stdout is not None
        runs.append([int(line) for line in process.stdout])
    lost = [before[-1] + 1 - after[0] for before, after in pairwise(runs)]
    weights = [load_file(folder / run / "model.safetensors") for run in ("whole", "killed")]
    same = weights[0].keys() == weights[1].keys() and all(
        torch.equal(value, weights[1][key]) for key, value in weights[0].items()
    )
    end = {
        "kills": options.kills,
        "in_writes": in_writes,
        "steps": total,
        "reached": runs[-1][-1],
        "between_checkpoints": options.every,
        "most_steps_lost": max(lost),
        "bit_identical": same,
    }
    print(json.dumps(end))


if __name__ == "__main__":
    main()
