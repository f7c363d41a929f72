"""A linear VAE against the maximum likelihood of probabilistic PCA, which it must reach.

    python -m experiments.ppca                                            # 4,500 digits
    python -m experiments.ppca --data fashion-mnist --data-root FOLDER    # 10,000 test images

With linear networks, one learned σ and a location without sigmoid the VAE is probabilistic PCA
(Tipping & Bishop 1999; Lucas et al. 2019), whose best log-likelihood has a closed form. Reaching it
proves that reductions, KL and σ are right, all at once.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import pyro_vae as pv


class Best(NamedTuple):
    """Maximum likelihood in closed form.

    Attributes:
        ppca: Of probabilistic PCA, nats per image.
        isotropic: Of a Gaussian of one variance, nats per image: what L = 0 reaches.
        variance: σ² of probabilistic PCA.
    """

    ppca: float
    isotropic: float
    variance: float


def closed_form(x: Tensor, latent_dim: int) -> Best:
    r"""The maximum of probabilistic PCA (Tipping & Bishop 1999), from the covariance's eigenvalues.

    .. math:: \sigma^2 = \frac{1}{D - L} \sum_{j>L} \lambda_j, \qquad
       \log p = -\tfrac12 \Big[D (\log 2\pi + 1) + \sum_{j \le L} \log \lambda_j
       + (D - L) \log \sigma^2\Big]

    Args:
        x: Data (N, D).
        latent_dim: L.
    """
    x = x.double()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)

    def log_likelihood(latents: int) -> tuple[float, float]:
        rest = len(eigenvalues) - latents
        variance = float(eigenvalues[latents:].sum()) / rest
        logs = float(eigenvalues[:latents].log().sum()) + rest * math.log(variance)
        return -0.5 * (len(eigenvalues) * (math.log(2 * math.pi) + 1) + logs), variance

    ppca, variance = log_likelihood(latent_dim)
    return Best(ppca, log_likelihood(0)[0], variance)


class Encoder(nn.Module):
    """x → posterior means that are linear in x, and raw scales that are the same for every x."""

    def __init__(self, data: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(data, latent_dim)
        self.scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Raw numbers of q(z|x), (N, 2 L)."""
        mean = self.mean(x.flatten(1))
        return torch.cat([mean, self.scale.expand_as(mean)], 1)


def linear(sizes: pv.networks.Sizes) -> tuple[nn.Module, nn.Module]:
    """Linear networks of these sizes."""
    encoder = Encoder(math.prod(sizes.data_shape), sizes.latent_dim)
    return encoder, nn.Linear(sizes.latent_dim, sizes.grid_numbers)


def run(x: Tensor, latent_dim: int, steps: int, batch: int, lr: float, seed: int) -> dict[str, Any]:
    """Train the linear VAE on float images, and compare.

    Returns:
        ``elbo`` of the training images and ``best``, the maximum, in nats per image; ``gap``, the
        part of the way from an isotropic Gaussian to probabilistic PCA; ``variance`` and
        ``variance_off``, σ² and by how much of itself it is off.
    """
    began = time.perf_counter()
    torch.manual_seed(seed)
    head = pv.observations.get(
        "normal-learned-sigma", scale="dataset", loc=pv.Param(link="identity")
    )
    vae = pv.VAE(tuple(x.shape[1:]), latent_dim, head, linear)
    epochs = -(-steps // -(-len(x) // batch))
    options = {"epochs": epochs, "batch_size": batch, "lr": lr, "lr_schedule": "cosine"}
    # The best constant prediction is a saddle, which linear networks take long to leave.
    history = pv.fit(vae, x, seed=seed, init_from_data=False, **options)
    elbo = pv.evaluate(vae, x)["elbo"]
    best = closed_form(x.flatten(1), latent_dim)
    variance = vae.decode(torch.zeros(1, latent_dim)).base_dist.scale.min().item() ** 2
    return {
        "images": len(x),
        "steps": len(history.steps),
        "elbo": elbo,
        "best": best.ppca,
        "isotropic": best.isotropic,
        "gap": (elbo - best.isotropic) / (best.ppca - best.isotropic),
        "variance": variance,
        "variance_off": variance / best.variance - 1,
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    """Print one JSON line per seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist-5k")
    parser.add_argument("--data-root")
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = pv.data.load(options.data, options.data_root)
    images = data.train if options.data == "mnist-5k" else data.test
    for seed in range(options.seeds):
        row = run(
            images.float() / 255, options.latent_dim, options.steps, options.batch, options.lr, seed
        )
        print(json.dumps({"data": options.data, "seed": seed, **row}), flush=True)


if __name__ == "__main__":
    main()
