"""Training in a plain Pyro script: SVI and Trace_ELBO on a model and a guide, and nothing else."""

from __future__ import annotations

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO

import pyro_vae as pv


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500) and score the 500 held-out ones."""
    pyro.set_rng_seed(0)
    digits = pv.data.load("mnist-5k")
    train = digits.train[:images]  # uint8: the VAE itself turns levels into what it scores

    vae = pv.VAE((1, 28, 28), latent_dim=20, obs="normal-learned-sigma")
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    for epoch in range(epochs):
        batches = train[torch.randperm(len(train))].split(128)
        loss = sum(svi.step(batch) for batch in batches)  # Pyro sums over a batch
        print(f"epoch {epoch + 1}: loss {loss / len(train):.1f} nats per image")

    held_out = svi.evaluate_loss(digits.test)
    return {"held-out ELBO in nats per image": -held_out / len(digits.test)}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
