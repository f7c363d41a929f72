"""Cumulative masses: of levels by their sum, of counts by incomplete gamma and beta functions."""

import torch
from torch import Tensor

from pyro_vae.distributions.special import log_beta_cdf, widened

__all__: list[str] = []

_STEPS = 200


def of_levels(log_masses: Tensor, value: Tensor) -> Tensor:
    """Mass of all levels up to ``value``, exactly 1 from the last one on.

    Args:
        log_masses: Of the levels from 0 on, shape (K, *batch).
        value: Of any shape that broadcasts with the batch.
    """
    below = widened(log_masses).exp().cumsum(0)[:-1].to(log_masses.dtype)
    steps = torch.cat([torch.zeros_like(below[:1]), below, torch.ones_like(below[:1])])
    shape = torch.broadcast_shapes(value.shape, steps.shape[1:])
    at = (value.detach().floor() + 1).clamp(0, len(steps) - 1).long().expand(shape)
    batch = shape[len(shape) - (steps.dim() - 1) :]
    steps = steps.expand((len(steps), *batch))
    return steps.gather(0, at.reshape((-1, *batch))).reshape(shape)


def of_poisson(rate: Tensor, value: Tensor) -> Tensor:
    """Q(k + 1, λ), the regularised upper incomplete gamma function."""
    wide, count = torch.broadcast_tensors(widened(rate), value.to(widened(rate)).detach().floor())
    some = count >= 0
    found = torch.special.gammaincc(torch.where(some, count, 0.0) + 1, wide)
    return torch.where(some, found, 0.0).to(rate.dtype)


def of_negative_binomial(total: Tensor, logits: Tensor, value: Tensor) -> Tensor:
    """The Beta(r, k + 1) distribution's mass up to 1 − p."""
    wide, total, count = torch.broadcast_tensors(
        widened(logits), widened(total), value.to(widened(logits)).detach().floor()
    )
    some = (count >= 0) & (total > 0)
    a, b = torch.where(some, total, 1.0), torch.where(some, count, 0.0) + 1
    # At infinite logits no fraction has an end.
    x = (-wide).sigmoid().clamp(1e-300, 1 - 1e-16)
    found = log_beta_cdf(a, b, x, _STEPS).exp()
    return torch.where(some, found, (count >= 0).to(found)).to(logits.dtype)
