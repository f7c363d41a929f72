"""The importance-weighted bound from 1 particle to 5,000, and what it costs.

    python -m experiments.evaluation --obs normal-learned-sigma

trains a model on the embedded digits and prints, for each K, the bound on held-out images, its
gain over the K before it with the gain's standard error over images, and the time; then how far
it is from a computation in numpy, and the calibration of the pixels.
"""

from __future__ import annotations

import math
import time

import click
import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import norm

import pyro_vae as pv
from pyro_vae.metrics import importance_bound
from pyro_vae.metrics.encodings import encoded, evaluating
from pyro_vae.metrics.importance import _particles

PARTICLES = (1, 2, 5, 10, 50, 100, 500, 1000, 5000)


def by_numpy(vae: pv.VAE, images: torch.Tensor, k: int) -> np.ndarray:
    """The bound of a Normal's parameters at the same particles, in float64."""
    with evaluating(vae):
        (block,) = encoded(vae, images)
        z = _particles(block, 0, range(k))
        p, q = vae.decode(z, block.x).base_dist, block.posterior.base_dist
    latents = z.double().numpy()
    weights = (
        norm(p.loc.double(), p.scale.double()).logpdf(block.x.double()).reshape(k, len(images), -1)
    ).sum(-1)
    weights += norm.logpdf(latents).sum(-1)
    weights -= norm(q.loc.double(), q.scale.double()).logpdf(latents).sum(-1)
    return np.asarray(logsumexp(weights, 0) - math.log(k))


@click.command()
@click.option("--obs", default="normal-learned-sigma", show_default=True, metavar="NAME")
@click.option("--images", default=100, show_default=True, help="Held-out images.")
@click.option("--epochs", default=20, show_default=True)
@click.option("--memory-budget", default="512MB", show_default=True)
def main(obs: str, images: int, epochs: int, memory_budget: str) -> None:
    """Print the bound for each K."""
    data = pv.data.load("mnist-5k")
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 20, obs)
    pv.fit(vae, data.train, epochs=epochs)
    test = data.test[:images]
    scores = pv.evaluate(vae, test, train=data.train, parts=("calibration",))
    click.echo(f"{obs}: elbo {scores['elbo']:.3f} nats per image, {images} images")
    before = None
    for k in PARTICLES:
        start = time.perf_counter()
        bound = importance_bound(vae, test, k, memory_budget).observed
        seconds = time.perf_counter() - start
        line = f"K = {k:5d}  {float(bound.mean()):10.3f}"
        if before is not None:
            gain = bound - before
            error = float(gain.std()) / math.sqrt(images)
            verdict = "ok" if float(gain.mean()) > -2 * error else "FALLS"
            line += f"  gain {float(gain.mean()):8.3f} ± {error:.3f} {verdict}"
        click.echo(f"{line}  {seconds:.1f} s")
        before = bound
    if isinstance(vae.decode(torch.zeros(1, 20)).base_dist, torch.distributions.Normal):
        few = test[:20]
        ours, theirs = importance_bound(vae, few, 100).observed.numpy(), by_numpy(vae, few, 100)
        distance = np.abs(ours / theirs - 1).max()
        click.echo(f"largest relative distance from numpy, K = 100: {distance:.1e}")
    found = scores["calibration"]
    held = ", ".join(f"{inside:.1%} of {wanted:.0%}" for wanted, inside in found["coverage"])
    click.echo(f"central intervals hold {held}")
    near = found["neighbours"]
    click.echo(f"residuals correlate {near['beside']:.2f} beside, {near['below']:.2f} below")


if __name__ == "__main__":
    main()
