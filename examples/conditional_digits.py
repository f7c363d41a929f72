"""A conditional VAE: both networks are told the digit's class, so that a class can be asked for."""

from __future__ import annotations

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.nn.functional import one_hot

import pyro_vae as pv


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500), then draw 20 of each class."""
    pyro.set_rng_seed(0)
    digits = pv.data.load("mnist-5k")
    train, labels = digits.train[:images], one_hot(digits.train_labels[:images], 10).float()

    # A covariate is any number that is known of an image; here are ten, of which one is 1.
    vae = pv.VAE((1, 28, 28), latent_dim=5, obs="normal-learned-sigma", covariates=10)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 3e-3}), Trace_ELBO())
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(128):
            svi.step(train[batch], covariates=labels[batch])

    # Given the class it is the same model/guide pair: one more argument everywhere.
    x, known = digits.test, one_hot(digits.test_labels, 10).float()
    told = -svi.evaluate_loss(x, covariates=known) / len(x)
    mistold = -svi.evaluate_loss(x, covariates=known.roll(1, dims=1)) / len(x)

    asked = torch.arange(10).repeat_interleave(20)
    drawn = vae.sample(len(asked), covariates=one_hot(asked, 10).float())  # (200, 1, 28, 28)
    means = torch.stack([digits.train[digits.train_labels == c].float().mean(0) for c in range(10)])
    nearest = torch.cdist(drawn.flatten(1), means.flatten(1) / 255).argmin(1)
    return {
        "held-out ELBO given the class, in nats per image": told,
        "the same given a wrong class": mistold,
        "share of drawn digits nearest to the mean image of the class asked for": (
            (nearest == asked).float().mean().item()
        ),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
