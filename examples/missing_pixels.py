"""Missing pixels: training on incomplete images, and filling in what is missing."""

from __future__ import annotations

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

import pyro_vae as pv
from pyro_vae import inference


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many half-seen digits (None: all 4,500), then fill the held-out ones."""
    pyro.set_rng_seed(0)
    digits = pv.data.load("mnist-5k")
    train, test = digits.train[:images], digits.test
    # True where a pixel was observed. What stands in the other pixels is looked at by nobody.
    mask, test_mask = torch.rand(train.shape) < 0.5, torch.rand(test.shape) < 0.5

    vae = pv.VAE((1, 28, 28), latent_dim=20, obs="normal-learned-sigma")
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(128):
            svi.step(train[batch], mask=mask[batch])

    mean_image = (train * mask).sum(0) / mask.sum(0).clamp(min=1) / 255
    encoded = vae.reconstruct(test, mask=test_mask)
    refined = inference.impute(vae, test, test_mask)  # q(z|x) improved for each image by itself

    def error(filled: Tensor) -> float:
        return (filled - test / 255)[~test_mask].square().mean().item()

    return {
        "squared error per missing pixel, filled by the encoder's code": error(encoded),
        "squared error per missing pixel, filled after refinement": error(refined),
        "squared error per missing pixel, filled by the mean image": error(
            mean_image.expand(test.shape)
        ),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
