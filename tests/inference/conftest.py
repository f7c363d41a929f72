"""A VAE whose posterior is known and correlated, and one trained on digits."""

from __future__ import annotations

from dataclasses import dataclass

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from pyro_vae import VAE, Head, Param, data, fit, networks, observations

DIMS, LATENTS, SIGMA = 8, 3, 0.5


@dataclass(frozen=True)
class Oblique:
    """x = W z + b + σ ε, W's columns oblique; the encoder says N(0, 0.69²) of everything."""

    vae: VAE
    weight: Tensor
    bias: Tensor
    x: Tensor

    def posterior(self, mask: Tensor | None = None) -> MultivariateNormal:
        """p(z|x), from the observed entries of each row."""
        seen = torch.ones_like(self.x) if mask is None else mask.to(self.x)
        gram = torch.einsum("nd,di,dj->nij", seen, self.weight, self.weight)
        precision = torch.eye(LATENTS) + gram / SIGMA**2
        pull = (seen * (self.x - self.bias)) @ self.weight / SIGMA**2
        mean = torch.linalg.solve(precision, pull)
        return MultivariateNormal(mean, precision_matrix=precision)


@pytest.fixture
def oblique(float64: None) -> Oblique:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(DIMS, LATENTS, generator=generator, dtype=torch.float64)
    weight[:, 1] += weight[:, 0]
    bias = torch.randn(DIMS, generator=generator, dtype=torch.float64)
    encoder, decoder = nn.Linear(DIMS, 2 * LATENTS), nn.Linear(LATENTS, DIMS)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        decoder.weight.copy_(weight)
        decoder.bias.copy_(bias)
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")
    vae = VAE((DIMS,), LATENTS, head, (encoder, decoder)).eval()
    z = torch.randn(5, LATENTS, generator=generator, dtype=torch.float64)
    noise = torch.randn(5, DIMS, generator=generator, dtype=torch.float64)
    return Oblique(vae, weight, bias, z @ weight.T + bias + SIGMA * noise)


@pytest.fixture(scope="session")
def trained(digits: data.Data) -> VAE:
    """A VAE after a few epochs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    obs = observations.get("normal-learned-sigma", scale="dataset")
    vae = VAE((1, 28, 28), 16, obs, networks.MLP(hidden=256))
    fit(vae, digits.train, epochs=8, batch_size=100, lr=2e-3, seed=0, compile="off")
    return vae
