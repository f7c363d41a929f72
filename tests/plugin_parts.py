"""Priors, posteriors and networks of one's own, each in one file, and what holds of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae import VAE

PRIOR = """
from dataclasses import dataclass

import torch
from pyro import distributions as dist
from torch import nn


@dataclass(frozen=True)
class Tailed:
    df: int = 5
    spread: float = 2.0

    def __call__(self, latent_dim, data_shape):
        return _Tailed(self, latent_dim)


class _Tailed(nn.Module):
    def __init__(self, of, latent_dim):
        super().__init__()
        self.df = of.df
        self.scale = nn.Parameter(torch.full((latent_dim,), of.spread))

    def forward(self, encode):
        return dist.StudentT(self.df, torch.zeros_like(self.scale), self.scale).to_event(1)


number, nothing = 3, None
fixed = Tailed(9)


@dataclass
class Inert:
    size: int = 3


def broken(latent_dim, data_shape):
    return latent_dim.shape


def wide(latent_dim, data_shape):
    return _Tailed(fixed, latent_dim + 1)
"""

POSTERIOR = """
from dataclasses import dataclass

from pyro import distributions as dist
from torch import nn
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Peaked:
    times: int = 1

    def __call__(self, latent_dim):
        return _Peaked(latent_dim, self.times)


class _Peaked(nn.Module):
    def __init__(self, latent_dim, times):
        super().__init__()
        self.numbers, self.times = 2 * latent_dim, times

    def forward(self, raw):
        loc, scale = raw.chunk(2, -1)
        return dist.Laplace(loc, self.times * softplus(scale)).to_event(1)
"""

NETWORK = """
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Bent:
    width: int = 16

    def __call__(self, sizes):
        encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, self.width),
            nn.Tanh(),
            nn.Linear(self.width, sizes.posterior_numbers),
        )
        return encoder, nn.Linear(sizes.latent_dim, sizes.grid_numbers + sizes.image_numbers)


def plain(sizes):
    return Bent(4)(sizes)
"""

HIERARCHY = """
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Stairs:
    width: int = 16

    def __call__(self, sizes):
        return _Up(self.width, sizes), _Down(self.width, sizes)


def above(sizes):
    return [level.dim for level in sizes.levels[1:]] + [sizes.latent_dim]


class _Up(nn.Module):
    def __init__(self, width, sizes):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, width), nn.Tanh())
        self.top = nn.Linear(width, sizes.posterior_numbers)
        self.steps = nn.ModuleList(
            nn.Linear(width + dim, level.posterior_numbers)
            for level, dim in zip(sizes.levels, above(sizes))
        )
        self.width = width

    def forward(self, x):
        features = self.features(x)
        return torch.cat([features, self.top(features)], 1)

    def posterior(self, level, features, above):
        own = features[..., : self.width]
        lead = torch.broadcast_shapes(own.shape[:-1], above.shape[:-1])
        seen = torch.cat([own.expand(*lead, -1), above.expand(*lead, -1)], -1)
        return self.steps[level](seen)


class _Down(nn.Module):
    def __init__(self, width, sizes):
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Linear(dim, level.prior_numbers) for level, dim in zip(sizes.levels, above(sizes))
        )
        self.image = nn.Linear(sizes.levels[0].dim, sizes.grid_numbers + sizes.image_numbers)

    def forward(self, z):
        return self.image(z)

    def prior(self, level, above):
        return self.steps[level](above)
"""


def _of_prior(vae: VAE, number: int) -> tuple[Tensor, Tensor]:
    """log p(z) as the model has it, and as its weights and a formula do."""
    z = torch.linspace(-2, 2, 6).reshape(3, 2)
    scale = vae.state_dict()["latent_prior.scale"]
    return vae.prior().log_prob(z), torch.distributions.StudentT(number, 0.0, scale).log_prob(
        z
    ).sum(-1)


def _of_posterior(vae: VAE, number: int) -> tuple[Tensor, Tensor]:
    x, z = torch.rand(3, 1, 28, 28), torch.ones(3, 2)
    loc, raw = vae.encoder(x).chunk(2, -1)
    scale = number * softplus(raw)
    return vae.encode(x).log_prob(z), -((z - loc).abs() / scale + (2 * scale).log()).sum(-1)


def _of_network(vae: VAE, number: int) -> tuple[Tensor, Tensor]:
    x, own = torch.rand(3, 1, 28, 28), vae.state_dict()
    first, second = own["encoder.1.weight"], own["encoder.3.weight"]
    assert first.shape == (number, 784)
    hidden = torch.tanh(x.flatten(1) @ first.T + own["encoder.1.bias"])
    return vae.encode(x).mean, (hidden @ second.T + own["encoder.3.bias"])[:, :2]


def _of_hierarchy(vae: VAE, number: int) -> tuple[Tensor, Tensor]:
    """log p(z) from the topmost latent down."""
    own = vae.state_dict()
    assert own["encoder.features.1.weight"].shape == (number, 784)
    z = torch.randn(3, sum(vae.latent_dims))
    parts = z.split(vae.latent_dims, -1)
    total = dist.Normal(0.0, 1.0).log_prob(parts[-1]).sum(-1)
    for level, (low, high) in enumerate(pairwise(parts)):
        raw = high @ own[f"decoder.steps.{level}.weight"].T + own[f"decoder.steps.{level}.bias"]
        loc, scale = raw.chunk(2, -1)
        total = total + dist.Normal(loc, softplus(scale) + 1e-4).log_prob(low).sum(-1)
    return vae.prior().log_prob(z), total


@dataclass(frozen=True)
class Part:
    """A part of one's own: where it goes, its one file, and what to hold it to."""

    option: str
    group: str
    source: str
    attribute: str
    field: str
    latents: str
    oracle: Callable[[VAE, int], tuple[Tensor, Tensor]]


PARTS = {
    "prior": Part("prior", "priors", PRIOR, "Tailed", "df", "2", _of_prior),
    "posterior": Part("posterior", "posteriors", POSTERIOR, "Peaked", "times", "2", _of_posterior),
    "network": Part("net", "networks", NETWORK, "Bent", "width", "2", _of_network),
    "two latents": Part("net", "networks", HIERARCHY, "Stairs", "width", "6,3", _of_hierarchy),
    "three latents": Part("net", "networks", HIERARCHY, "Stairs", "width", "6,4,3", _of_hierarchy),
}


def held_to(part: Part, vae: VAE, number: int) -> None:
    with torch.no_grad():
        found, wanted = part.oracle(vae, number)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
