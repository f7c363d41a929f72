"""An objective of one's own: a subclass of ``pv.objectives.Objective``.

Here the InfoVAE's (Zhao, Song & Ermon 2019) without a KL: it is a batch's codes together that are
held to the prior, by their maximum mean discrepancy.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from torch import Tensor

import pyro_vae as pv


def discrepancy(z: Tensor, prior: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two sets of points (N, L), with a Gaussian kernel."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp((a[:, None] - b).square().mean(-1) / -2).mean()

    return kernel(z, z) + kernel(prior, prior) - 2 * kernel(z, prior)


class InfoVAE(pv.objectives.Objective):
    """−E[log p(x|z)] + weight × MMD²(q(z), p(z)), summed over the images as Pyro's losses are."""

    spec = "info-vae"  # its name in print

    def __init__(self, weight: float) -> None:
        super().__init__(max_plate_nesting=1)
        self.weight = weight

    def surrogate(self, model_trace: Any, guide_trace: Any) -> Tensor:
        """The loss, from the traces of guide and model."""
        obs, z = model_trace.nodes["obs"], guide_trace.nodes["latent"]["value"]
        apart = discrepancy(z, model_trace.nodes["latent"]["fn"].sample())
        return -obs["log_prob"].sum() + self.weight * len(z) * apart


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500) and score the 500 held-out ones."""
    torch.manual_seed(0)
    digits = pv.data.load("mnist-5k")
    vae = pv.VAE((1, 28, 28), latent_dim=5, obs="normal-learned-sigma")
    svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), InfoVAE(1000.0))
    for _ in range(epochs):
        for batch in digits.train[:images].split(128):
            svi.step(batch)
    z = vae.encode(digits.test).sample()
    apart = discrepancy(z, torch.randn_like(z)).item()
    elbo = pv.evaluate(vae, digits.test, parts=())["elbo"]
    return {"held-out ELBO in nats per image": elbo, "discrepancy of codes and prior": apart}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
