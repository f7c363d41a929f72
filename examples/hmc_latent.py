"""Hamiltonian Monte Carlo on the latent of one image, beside the guide's answer."""

from __future__ import annotations

import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

import pyro_vae as pv


def hmc(vae: pv.VAE, x: Tensor, samples: int) -> Tensor:
    """Draws (samples, latent_dim) from p(z|x) by Pyro's NUTS on the model given one image.

    Args:
        vae: A trained model.
        x: One image (1, C, H, W) as the observation takes it. HMC needs the same log-probability
            at every visit, and 8-bit levels would get fresh noise: pass ``vae.observe(levels)``.
        samples: Number of draws, after half as many, at least 50, for finding a step size.
    """
    vae.requires_grad_(False)  # only z moves
    start = {"latent": vae.encode(x).mean}
    mcmc = MCMC(
        NUTS(vae.model, adapt_mass_matrix=False),  # a few draws tell too little of a covariance
        num_samples=samples,
        warmup_steps=max(50, samples // 2),
        initial_params=start,
        disable_progbar=True,
    )
    mcmc.run(x)
    return mcmc.get_samples()["latent"][:, 0]


def main(epochs: int = 20, images: int | None = None, samples: int = 500) -> dict[str, float]:
    """Train on this many digits (None: all 4,500), then compare both posteriors of one image."""
    torch.manual_seed(0)
    digits = pv.data.load("mnist-5k")
    vae = pv.VAE((1, 28, 28), latent_dim=5, obs="normal-learned-sigma")
    pv.fit(vae, digits.train[:images], epochs=epochs)

    x = vae.observe(digits.test[:1])
    guide, draws = vae.encode(x), hmc(vae, x, samples)
    moved = (draws[1:] != draws[:-1]).any(1).double().mean().item()
    if moved < 0.5:
        raise SystemExit(f"the chain moved in {moved:.0%} of its steps: no draws of p(z|x)")
    mean, scale = guide.mean[0], guide.stddev[0]
    for i in range(vae.latent_dim):
        exact = f"HMC {draws[:, i].mean():+.3f} ± {draws[:, i].std():.3f}"
        print(f"latent {i}: guide {mean[i]:+.3f} ± {scale[i]:.3f}, {exact}")
    distance = (draws.mean(0) - mean).abs() / draws.std(0)
    return {
        "largest distance of the means in HMC's standard deviations": distance.max().item(),
        "guide's standard deviation over HMC's, on average": (scale / draws.std(0)).mean().item(),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
