"""Time per step against pixels, latents and batch.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --compile on

Each axis is varied around the 784-400-20 network, batch 128, normal-learned-sigma, all settings of
an axis in turns; times are over the first setting's. What data take of memory is measured by
``python -m experiments.larger_than_memory``: it does not grow with a file that is mapped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import torch

import pyro_vae as pv
from benchmarks import common
from pyro_vae import measures
from pyro_vae.training import Settings
from pyro_vae.training.state import State

AXES: dict[str, tuple[int, ...]] = {
    "side": (14, 28, 56, 112),
    "latent_dim": (2, 20, 200),
    "batch": (32, 128, 512, 2048),
}
USUAL = {"side": 28, "latent_dim": 20, "batch": 128}
STEPS = 10


def steps(compile: str, side: int, latent_dim: int, batch: int) -> Callable[[], None]:
    """Some steps of ``fit``."""
    torch.manual_seed(0)
    images = torch.randint(256, (batch, 1, side, side), dtype=torch.uint8)
    vae = pv.VAE((1, side, side), latent_dim, "normal-learned-sigma").train()
    state = State(vae, Settings.of(compile=compile), batch)

    def run() -> None:
        with pyro.validation_enabled(False), measures.local_params():
            for _ in range(STEPS):
                state.advance(images)

    return run


def times(compile: str, rounds: int) -> list[dict[str, Any]]:
    """Time of a step at each setting of each axis, over that at the first."""
    rows = []
    for axis, values in AXES.items():
        runs = {str(v): steps(compile, **{**USUAL, axis: v}) for v in values}
        found = common.in_turns(runs, rounds, warm_up=2)
        for value in values:
            over = common.ratio(found, str(values[0]), str(value))
            milliseconds = 1e3 * float(np.median(found[str(value)])) / STEPS
            rows.append({"axis": axis, "value": value, "ms": milliseconds, "over the first": over})
    return rows


def main() -> None:
    """Print a JSON line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", default="off", choices=("on", "off"))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for row in times(options.compile, options.rounds):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
