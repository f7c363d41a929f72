"""Networks of one's own: a function that makes an encoder and a decoder from their sizes."""

from __future__ import annotations

import torch
from torch import nn

import pyro_vae as pv


def networks(sizes: pv.networks.Sizes) -> tuple[nn.Module, nn.Module]:
    """Convolutions with batch normalisation.

    The sizes depend on the observation, so that one function serves them all: an observation with
    a mean and a σ per pixel, for one, needs two numbers for each pixel from the decoder.
    """
    channels = sizes.data_shape[0]
    encoder = nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),  # 28 → 14
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),  # 14 → 7
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, sizes.posterior_numbers),
    )
    decoder = nn.Sequential(
        nn.Linear(sizes.latent_dim, 256),
        nn.SiLU(),
        nn.Linear(256, sizes.grid_numbers + sizes.image_numbers),
    )
    return encoder, decoder


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500) and score the 500 held-out ones."""
    torch.manual_seed(0)
    digits = pv.data.load("mnist-5k")
    # Two modules as a pair do as well: net=(encoder, decoder).
    vae = pv.VAE((1, 28, 28), latent_dim=20, obs="normal-learned-sigma", net=networks)
    pv.fit(vae, digits.train[:images], epochs=epochs)
    scores = pv.evaluate(vae, digits.test, parts=())
    return {
        "held-out ELBO in nats per image": scores["elbo"],
        "held-out squared error per pixel": scores["mse"],
        "squared error of the mean image": scores["mse_mean_image"],
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
