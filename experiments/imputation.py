"""Half of the pixels missing at random: filled by a VAE, by neighbours, by the mean image.

    python -m experiments.imputation
    python -m experiments.imputation --epochs 10 --count 100 --threads 1

trains on the embedded digits and prints the squared error of the missing pixels of held-out ones,
per pixel on [0, 1], with its standard error over images. Pseudo-Gibbs is that of Rezende, Mohamed
and Wierstra (2014): encode what is filled in, decode, fill in anew with draws from p(x|z), or with
its mean.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae.inference import impute

__all__ = ["mean_image", "nearest"]


def mean_image(train: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """The training images' mean where nothing is observed; pictures on [0, 1]."""
    return true.where(mask, train.mean(0))


def nearest(train: Tensor, true: Tensor, mask: Tensor, neighbours: int = 1) -> Tensor:
    """The mean of the training images nearest on the observed pixels, where nothing is observed.

    Args:
        train: Training pictures (M, *data_shape) on [0, 1].
        true: Pictures (N, *data_shape), of which only what the mask shows is used.
        mask: True where observed.
        neighbours: How many.
    """
    seen, x, others = mask.flatten(1).float(), (true * mask).flatten(1), train.flatten(1)
    distance = seen @ others.square().T - 2 * x @ others.T
    chosen = distance.topk(neighbours, largest=False).indices
    return true.where(mask, others[chosen].mean(1).reshape(true.shape))


@torch.no_grad()
def pseudo_gibbs(
    vae: pv.VAE, start: Tensor, true: Tensor, mask: Tensor, rounds: int, kept: int, kind: str
) -> Tensor:
    """The mean over the last rounds; each fills in such pictures of p(x|z)."""
    filled, total = start, torch.zeros(())
    for step in range(rounds):
        likelihood = vae.decode(vae.encode(filled).sample())
        if step >= rounds - kept:
            total = total + vae.picture(likelihood, "mean") / kept
        filled = true.where(mask, vae.picture(likelihood, kind).clamp(0, 1))
    return true.where(mask, total)


def main() -> None:
    """Train, fill in, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--missing", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    digits = pv.data.load("mnist-5k")
    x = digits.test[: options.count]
    true, train = x.float() / 255, digits.train.float() / 255
    generator = torch.Generator().manual_seed(options.seed)
    mask = torch.rand(x.shape, generator=generator) >= options.missing
    torch.manual_seed(options.seed)
    vae = pv.VAE((1, 28, 28), 20, pv.observations.get("normal-learned-sigma", scale="dataset"))
    pv.fit(vae, digits.train, epochs=options.epochs, seed=options.seed)
    first = mean_image(train, true, mask)
    fillings: dict[str, Callable[[], Tensor]] = {
        "mean image": lambda: first,
        "nearest neighbour": lambda: nearest(train, true, mask),
        "mean of 5 nearest": lambda: nearest(train, true, mask, 5),
        "encoder, 0 where missing": lambda: true.where(mask, vae.reconstruct(x, mask=mask)),
        "pseudo-Gibbs, draws": lambda: pseudo_gibbs(vae, first, true, mask, 30, 20, "sample"),
        "pseudo-Gibbs, means": lambda: pseudo_gibbs(vae, first, true, mask, 30, 20, "mean"),
        "impute, 25 steps": lambda: impute(vae, x, mask, steps=25),
        "impute, 100 steps": lambda: impute(vae, x, mask),
        "(all pixels observed)": lambda: true.where(mask, vae.reconstruct(x)),
    }
    print(f"{'filled by':26} {'MSE':>8} {'± se':>7} {'seconds':>8}")
    missing = ~mask
    for name, fill in fillings.items():
        began = time.perf_counter()
        squared = (fill() - true).square() * missing
        took = time.perf_counter() - began
        error = squared.flatten(1).sum(1) / missing.flatten(1).sum(1)
        se = float(error.std()) / math.sqrt(len(error))
        print(f"{name:26} {float(error.mean()):8.4f} {se:7.4f} {took:8.1f}", flush=True)


if __name__ == "__main__":
    main()
