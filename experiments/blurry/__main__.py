"""Make every picture and number of docs/blurry.md.

    python -m experiments.blurry
    python -m experiments.blurry --part minimiser outliers

prints a JSON line for each number and writes the pictures; all parts take five to ten minutes of
a core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from experiments.blurry.drawn import minimisers, outliers
from experiments.blurry.losses import audits, networks, reductions, scales
from experiments.blurry.observed import annealing, beta, edges, grey, sigma
from experiments.blurry.setting import Row, Setting

PARTS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "audits": audits,
    "reductions": reductions,
    "networks": networks,
    "minimiser": minimisers,
    "outliers": outliers,
    "edges": edges,
    "grey": grey,
    "sigma": sigma,
    "beta": beta,
    "annealing": annealing,
    "scales": scales,
}


def main() -> None:
    """Print one JSON line per number, or group of numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=Setting.epochs)
    parser.add_argument("--pictures", type=Path, default=Setting.folder, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(options.epochs, options.pictures)
    for part in options.part:
        for row in PARTS[part](setting):
            print(json.dumps({"part": part, **row}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
