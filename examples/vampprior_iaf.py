"""Another prior and another posterior: a VampPrior with an inverse autoregressive flow."""

from __future__ import annotations

import torch

import pyro_vae as pv

# The VampPrior (Tomczak & Welling 2018) is the mixture of q(z|u) at 20 learned images u; the flow
# (Kingma et al. 2016) bends a normal into a q(z|x) whose units depend on each other. Both learn
# with the rest, and what there is of the KL in closed form is sampled instead.
PAIRS = {
    "standard normal and diagonal": {"prior": "standard-normal", "posterior": "diagonal"},
    "VampPrior and flow": {"prior": "vamp:20", "posterior": "iaf:1"},
}


def main(epochs: int = 20, images: int | None = None, particles: int = 100) -> dict[str, float]:
    """Train both pairs on this many digits (None: all 4,500) and score the 500 held-out ones."""
    digits = pv.data.load("mnist-5k")
    figures = {}
    for name, pair in PAIRS.items():
        torch.manual_seed(0)
        vae = pv.VAE((1, 28, 28), latent_dim=10, obs="normal-learned-sigma", **pair)
        pv.fit(vae, digits.train[:images], epochs=epochs)
        scores = pv.evaluate(vae, digits.test, iwae=particles, parts=())
        figures[f"{name}, held-out ELBO in nats per image"] = scores["elbo"]
        figures[f"{name}, importance-weighted bound of {particles}"] = scores["iwae"]["bound"]
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
