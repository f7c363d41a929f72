"""What half precision costs: the held-out bound after the same steps.

    python -m experiments.precision --data-root DIR

trains on 10,000 images of Fashion-MNIST in float32 and in bfloat16, the same weights, batches and
noise at the start, and prints a JSON line per observation with the held-out bound of both: bits per
dimension of a likelihood, nats per image of a loss.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import pyro_vae as pv

OBSERVATIONS = ("normal-learned-sigma", "continuous-bernoulli", "bernoulli")


def trained(name: str, precision: str, part: Any, epochs: int, seed: int) -> dict[str, Any]:
    """Scores of one run."""
    torch.manual_seed(seed)
    vae = pv.VAE((1, 28, 28), 20, name)
    pv.fit(vae, part.train, epochs=epochs, seed=seed, precision=precision)
    return dict(pv.evaluate(vae, part.test))


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    loaded = pv.data.load(options.data, options.data_root)
    part = loaded._replace(train=loaded.train[: options.images], test=loaded.test[:1000])
    for name in OBSERVATIONS:
        full, half = (
            trained(name, precision, part, options.epochs, options.seed)
            for precision in ("float32", "bfloat16")
        )
        key = "bits_per_dim" if full["bits_per_dim"] is not None else "objective"
        line = {"obs": name, "score": key, "float32": full[key], "bfloat16": half[key]}
        print(json.dumps({**line, "difference": half[key] - full[key]}), flush=True)


if __name__ == "__main__":
    main()
