"""Runs that are broken in a few seconds, and what a user's own networks can do wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.diagnostics import Diagnosis
from pyro_vae.networks import Sizes

SHAPE = (1, 28, 28)
Run = tuple[pv.VAE, pv.History, dict[str, Any], Diagnosis]
QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 50}


class Ignoring(nn.Module):
    """A decoder that has one picture for every z."""

    def __init__(self, numbers: int = 784) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(numbers))

    def forward(self, z: Tensor) -> Tensor:
        return self.picture.expand(len(z), -1)


class Watching(nn.Module):
    """An encoder that keeps what it was given."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(784, 2 * latent_dim))
        self.seen = torch.zeros(1, 784)

    def forward(self, x: Tensor) -> Any:
        self.seen = x.flatten(1)
        return self.layer(x)


class Copying(nn.Module):
    """A decoder that copies what the encoder was given, whatever z is."""

    def __init__(self, watching: Watching) -> None:
        super().__init__()
        self.watching = [watching]

    def forward(self, z: Tensor) -> Tensor:
        seen = self.watching[0].seen
        if len(seen) != len(z):
            seen = torch.zeros(len(z), 784)
        return torch.logit(seen, eps=0.05)


class First(nn.Module):
    """The first two numbers of each row."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :2]


def narrow(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
    """Networks whose decoder is a plane through two of all latents."""
    line = nn.Sequential(First(), nn.Linear(2, sizes.grid_numbers))
    return pv.networks.MLP(hidden=32)(sizes)[0], line


def ignoring(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
    """Networks whose decoder ignores z."""
    return pv.networks.MLP(hidden=32)(sizes)[0], Ignoring(sizes.grid_numbers)


def copying(latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """A pair whose decoder sees the image that it is to make."""
    watching = Watching(latent_dim)
    return watching, Copying(watching)


def run(
    digits: pv.data.Data,
    obs: str | pv.Head = "normal",
    net: Callable[[Sizes], tuple[nn.Module, nn.Module]] | None = None,
    latent_dim: int = 10,
    images: int = 600,
    held_out: bool = True,
    **fit: Any,
) -> Run:
    """Train on a few digits and diagnose."""
    vae = pv.VAE(SHAPE, latent_dim, obs, net or pv.networks.MLP(hidden=32))
    options = {**QUICK, **fit}
    test = digits.test[:200]
    train = digits.train[:images]
    history = pv.fit(vae, train, test if held_out else None, **options)
    settings = {**options, "beta": str(options.get("beta", 1))}
    seen = train if held_out else None
    return vae, history, settings, pv.diagnose(vae, test, history, settings, seen)
