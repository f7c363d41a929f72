"""Baselines: what an observation reaches without any latents, by the best constant prediction."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.measures.scores import fixed_noise
from pyro_vae.vae import VAE

__all__ = ["Constant", "best_constant", "predict_half"]


class Constant(NamedTuple):
    """A prediction that does not depend on z.

    Attributes:
        reconstruction: Mean of log p(x) under it, nats per image: the collapsed model's ELBO.
        raw: Its raw output, (numbers of the head,).
    """

    reconstruction: float
    raw: Tensor


def best_constant(vae: VAE, images: Tensor, limit: int = 1000, steps: int = 120) -> Constant:
    """The best constant prediction per pixel under the model's own observation.

    This is what a collapsed VAE reaches: its KL is 0 and its reconstruction this number.

    Args:
        vae: The model; only its observation is used, and not changed.
        images: Levels (uint8) or floats, (N, *data_shape).
        limit: Images that are used, the first ones.
        steps: Of resilient backpropagation (Riedmiller & Braun 1993) on all of them at once.
    """
    return _fit(vae, images[:limit], steps, everything=True)


def predict_half(vae: VAE, images: Tensor, limit: int = 1000, steps: int = 60) -> Constant:
    """Predicting the middle of the range at every pixel, with the scale that suits it best."""
    return _fit(vae, images[:limit], steps, everything=False)


def _fit(vae: VAE, images: Tensor, steps: int, everything: bool) -> Constant:
    head = copy.deepcopy(vae.likelihood).requires_grad_(True)
    raw = torch.zeros(head.numbers, device=images.device)
    # The first numbers are the grid's: at 0 they stand in the middle of the range.
    held = 0 if everything else head.grid_numbers
    free = raw[held:].clone().requires_grad_(True)
    parameters = [p for p in (free, *head.parameters()) if p.numel()]
    with fixed_noise(0, images.device):
        x = vae.observe(images)

    def loss() -> Tensor:
        likelihood = head(torch.cat([raw[:held], free]).expand(1, -1))
        value: Tensor = -likelihood.log_prob(x).mean()
        return value

    if parameters:
        # Pixels are separate problems of very different curvature: sign-based steps suit them.
        optimiser = torch.optim.Rprop(parameters, lr=0.1)
        for _ in range(steps):
            optimiser.zero_grad()
            loss().backward()
            optimiser.step()
    with torch.no_grad():
        return Constant(-float(loss()), torch.cat([raw[:held], free]).detach())
