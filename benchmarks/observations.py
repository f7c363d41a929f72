"""What a training step costs under each observation, against Bernoulli's.

    python -m benchmarks.observations [--write]

Each round runs a few steps under every observation in turn, so that a busy machine slows all of
them; a ratio is the median over rounds of (its time / Bernoulli's time of the same round). The
network is 784-400-20 and a batch 128 digits; eager, single precision, one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae.config import FitConfig
from pyro_vae.elbo import local_params
from pyro_vae.training.train_state import TrainState

COSTS = Path(pv.observations.__file__).with_name("costs.json")
KEY = "times bernoulli"


def main() -> None:
    """Print a line per observation, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="Keep the medians for `pyro-vae obs`.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ratios = measure(options.rounds, options.steps)
    if options.write:
        costs = {name: round(median, 2) for name, (_, median, _) in ratios.items()}
        text = json.dumps({"made by": "python -m benchmarks.observations", KEY: costs}, indent=2)
        COSTS.write_text(text + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(ratios, indent=2))
        return
    for name, (low, median, high) in ratios.items():
        print(f"{name:34} {median:6.2f} times bernoulli ({low:.2f} to {high:.2f})")


def measure(rounds: int, steps: int) -> dict[str, tuple[float, float, float]]:
    """Lowest, median and highest ratio of each observation to Bernoulli over the rounds."""
    batch = pv.data.load("mnist-5k").train[:128]
    states = {name: _state(name, batch) for name in pv.observations.TABLE}
    for state in states.values():
        _time(state, batch, 2)
    found: dict[str, list[float]] = {name: [] for name in states}
    for _ in range(rounds):
        times = {name: _time(state, batch, steps) for name, state in states.items()}
        for name, seconds in times.items():
            found[name].append(seconds / times["bernoulli"])
    return {n: (min(r), statistics.median(r), max(r)) for n, r in found.items()}


def _state(name: str, batch: Tensor) -> Any:
    torch.manual_seed(0)
    vae = pv.VAE(tuple(batch.shape[1:]), 20, name)
    if "data" in vae.likelihood.origins():
        vae.estimate(batch)
    return TrainState(vae, FitConfig.of(), len(batch))


def _time(state: Any, batch: Tensor, steps: int) -> float:
    start = time.perf_counter()
    with pyro.validation_enabled(False), local_params():
        for _ in range(steps):
            state.advance(batch)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
