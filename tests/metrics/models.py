"""Models whose answers are known: a linear-Gaussian VAE, and heads with hand-set parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyro.distributions as dist
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from pyro_vae import VAE, Head, Param, observations

FLOOR = 1e-4  # of the encoder's σ


def unsoftplus(value: float) -> float:
    return math.log(math.expm1(value))


class Constant(nn.Module):
    """The same raw numbers whatever comes in."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = nn.Parameter(raw)

    def forward(self, x: Tensor) -> Tensor:
        return self.raw.expand(len(x), -1)


class Flat(nn.Module):
    """A linear layer of flattened images."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def at_the_prior(latents: int) -> Constant:
    """An encoder that gives every image the prior."""
    scale = torch.full((latents,), unsoftplus(1 - FLOOR))
    return Constant(torch.cat([torch.zeros(latents), scale]))


def constant_vae(shape: tuple[int, ...], obs: str | Head, raw: float | Tensor = 0.0) -> VAE:
    """A collapsed VAE whose decoder says the same of everything."""
    head = observations.get(obs) if isinstance(obs, str) else obs
    numbers = head.build(shape).numbers
    values = raw if isinstance(raw, Tensor) else torch.full((numbers,), raw)
    return VAE(shape, 1, head, (at_the_prior(1), Constant(values))).eval()


@dataclass(frozen=True)
class Linear:
    """x = W z + b + σ ε with orthogonal columns of W, so that the posterior is diagonal."""

    weight: np.ndarray
    bias: np.ndarray
    sigma: float

    @classmethod
    def random(cls, dims: int, latents: int, sigma: float, centre: float = 0.0) -> Linear:
        rng = np.random.default_rng(0)
        directions, _ = np.linalg.qr(rng.normal(size=(dims, latents)))
        lengths = sigma * np.linspace(1.0, 3.0, latents)
        return cls(directions * lengths, centre + 0.1 * rng.normal(size=dims), sigma)

    @property
    def posterior_scale(self) -> np.ndarray:
        precision = 1 + (self.weight**2).sum(0) / self.sigma**2
        return np.asarray(precision**-0.5)

    def posterior_mean(self, x: np.ndarray) -> np.ndarray:
        scaled = (x - self.bias) @ self.weight / self.sigma**2
        return np.asarray(scaled * self.posterior_scale**2)

    def vae(self, shape: tuple[int, ...], widen: float = 1.0, cls: type[VAE] = VAE) -> VAE:
        """As a VAE whose posterior is exact, or its σ too wide."""
        scale = self.posterior_scale * widen
        pull = (self.weight / self.sigma**2 * self.posterior_scale**2).T
        raw = np.array([unsoftplus(s - FLOOR) for s in scale])
        encoder = Flat(
            np.concatenate([pull, np.zeros_like(pull)]), np.concatenate([-pull @ self.bias, raw])
        )
        head = Head.of(dist.Normal, loc=Param(link="identity"), scale=self.sigma)
        return cls(shape, len(scale), head, (encoder, Flat(self.weight, self.bias))).eval()

    def draw(self, size: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(size, self.weight.shape[1]))
        noise = rng.normal(size=(size, len(self.bias)))
        x = z @ self.weight.T + self.bias + self.sigma * noise
        return torch.tensor(x, dtype=torch.float32).reshape(size, *shape)

    def log_evidence(self, x: np.ndarray) -> np.ndarray:
        covariance = self.weight @ self.weight.T + self.sigma**2 * np.eye(len(self.bias))
        return np.asarray(multivariate_normal(self.bias, covariance).logpdf(x))
