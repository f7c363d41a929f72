"""Time per step against pixels, latents and batch, compiled and not.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --out benchmarks/results/scaling.json

Each axis is varied around the 784-400-20 network, batch 128, normal-learned-sigma, all settings of
an axis in turns; times are over the first setting's. What data take of memory is measured by
``python -m experiments.larger_than_memory``: it does not grow with a file that is mapped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

import pyro_vae as pv
from benchmarks import common
from pyro_vae.config import FitConfig
from pyro_vae.elbo import local_params
from pyro_vae.training.train_state import TrainState

AXES: dict[str, tuple[int, ...]] = {
    "side": (14, 28, 56, 112),
    "latent_dim": (2, 20, 200),
    "batch": (32, 128, 512, 2048),
}
USUAL = {"side": 28, "latent_dim": 20, "batch": 128}
LABELS = {"side": "pixels", "latent_dim": "latents", "batch": "images per batch"}
MODES = {"off": "#0072B2", "on": "#D55E00"}
"""What ``--compile`` may be, with colours."""
STEPS = 10


def steps(compile: str, side: int, latent_dim: int, batch: int) -> Callable[[], None]:
    """Some steps of ``fit``."""
    torch.manual_seed(0)
    images = torch.randint(256, (batch, 1, side, side), dtype=torch.uint8)
    vae = pv.VAE((1, side, side), latent_dim, "normal-learned-sigma").train()
    state = TrainState(vae, FitConfig.of(compile=compile), batch)

    def run() -> None:
        with pyro.validation_enabled(False), local_params():
            for _ in range(STEPS):
                state.advance(images)

    return run


def times(axis: str, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of a step at each setting of an axis, and how many times those at the first."""
    runs = {f"{m} {v}": steps(m, **{**USUAL, axis: v}) for v in AXES[axis] for m in MODES}
    found = common.in_turns(runs, rounds, warm_up=2)
    return [
        {
            "axis": axis,
            "value": value,
            "compile": mode,
            "milliseconds": 1e3 * float(np.median(found[f"{mode} {value}"])) / STEPS,
            "over the first": common.ratio(found, f"{mode} {AXES[axis][0]}", f"{mode} {value}"),
        }
        for value in AXES[axis]
        for mode in MODES
    ]


def main() -> None:
    """Print a JSON line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=None, help="JSON file, beside a picture")
    options = parser.parse_args()
    rows = []
    for axis in AXES:
        for row in times(axis, options.rounds):
            print(json.dumps(row), flush=True)
            rows.append(row)
    if options.out is not None:
        found = {"rounds": options.rounds, "steps": rows, "machine": common.machine()}
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        draw(rows, options.out.with_suffix(".png"))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds against each axis; the dotted line is what would be proportional to it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, axis in zip(panels, AXES, strict=True):
        sizes = [value**2 if axis == "side" else value for value in AXES[axis]]
        for mode, colour in MODES.items():
            own = [r["milliseconds"] for r in rows if (r["axis"], r["compile"]) == (axis, mode)]
            axes.loglog(sizes, own, "o-", color=colour, label=f"--compile {mode}")
        axes.loglog(sizes, [own[-1] * size / sizes[-1] for size in sizes], "k:", lw=1)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel(LABELS[axis])
    panels[0].set_ylabel("milliseconds per step")
    panels[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
