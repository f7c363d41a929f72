"""Baselines: what an observation reaches without any latents, by the best constant prediction."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.heads import BuiltHead
from pyro_vae.measures.scores import BLOCK, fixed_noise
from pyro_vae.vae import VAE

__all__ = ["Constant", "best_constant", "freeze_residuals", "predict_half", "start_at"]


class Constant(NamedTuple):
    """A prediction that does not depend on z.

    Attributes:
        reconstruction: Mean of log p(x) under it, nats per image: the collapsed model's ELBO.
        raw: Its raw output, (numbers of the head,).
        head: The built head with its own learned numbers at their best.
    """

    reconstruction: float
    raw: Tensor
    head: BuiltHead


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
    head.offset = None
    raw = torch.zeros(head.numbers, device=images.device)
    # The first numbers are the grid's: at 0 they stand in the middle of the range.
    held = 0 if everything else head.grid_numbers
    free = raw[held:].clone().requires_grad_(True)
    parameters = [p for p in (free, *head.parameters()) if p.numel()]
    with fixed_noise(0, images.device):
        x = vae.observe(images)

    def loss() -> Tensor:
        likelihood = head(torch.cat([raw[:held], free]).expand(1, -1), x)
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
        return Constant(-float(loss()), torch.cat([raw[:held], free]).detach(), head)


@torch.no_grad()
def start_at(vae: VAE, constant: Constant) -> None:
    """Let a model start at a constant prediction: as an offset under the decoder's raw output."""
    vae.likelihood.offset = constant.raw.clone()
    for name, value in vae.likelihood.learned.items():
        value.copy_(constant.head.learned[name])


@torch.no_grad()
def freeze_residuals(vae: VAE, images: Tensor) -> None:
    """Set scales that are residuals to those of the training images at a latent drawn for each.

    Args:
        vae: The model, in evaluation mode.
        images: Levels (uint8) or floats, (N, *data_shape).
    """
    squared = torch.zeros(vae.data_shape, dtype=torch.float64, device=images.device)
    for block, part in enumerate(images.split(BLOCK)):
        with fixed_noise(block, images.device):
            x = vae.observe(part)
            prediction = vae.decode(vae.encode(x).rsample()).mean
        squared += (x - prediction).square().sum(0)
    vae.likelihood.freeze((squared / len(images)).float())
