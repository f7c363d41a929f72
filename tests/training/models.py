"""A model that trains in milliseconds."""

from __future__ import annotations

from typing import Any

from pyro_vae import VAE, networks


def small(obs: Any = "normal", shape: tuple[int, ...] = (1, 28, 28), **sizes: float) -> VAE:
    return VAE(shape, sizes.pop("latent_dim", 3), obs, networks.MLP(**{"hidden": 24, **sizes}))
