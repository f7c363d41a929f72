"""Probability integral transforms, by whatever a distribution offers: cdf, masses or samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.distributions import log_interval_mass
from pyro_vae.distributions.discretized import LevelMass, in_float64

__all__: list[str] = []

RANKED = 99
"""Samples among which x is ranked where there is no cdf."""

_AT_ONCE = 16  # levels of an enumerated mass


class Predicted(NamedTuple):
    """What a distribution says of the x it is given, each (N, *data_shape), float64.

    Attributes:
        integral: The probability integral transform of x, uniform on [0, 1] if x follows it.
        mean: Mean, None where there is none.
        sigma: Standard deviation, None where there is none or it is not finite.
    """

    integral: Tensor
    mean: Tensor | None
    sigma: Tensor | None


def predicted(p: Distribution, pixels: Distribution | None, x: Tensor) -> Predicted:
    r"""The randomised probability integral transform of x, with the moments it was predicted by.

    .. math:: u = P(X < x) + v\, P(X = x), \qquad v \sim U(0, 1)

    (Smith 1985, for masses); by the cdf, an interval's mass or all masses, in float64, and where
    there is none of these by ranks among :data:`RANKED` samples, which are uniform as well.

    Args:
        p: A distribution of event_shape data_shape.
        pixels: The distributions of its pixels where it is made of them.
        x: What is observed, (N, *data_shape).
    """
    noise = torch.rand(x.shape, dtype=torch.float64, device=x.device)
    if pixels is not None:
        levels = _levels(pixels)
        if levels is not None:
            return _enumerated(pixels, levels, x, noise)
        for transform in (_by_cdf, _by_interval):
            try:
                return Predicted(transform(in_float64(pixels), x.double(), noise), *_moments(p))
            except (RuntimeError, TypeError, AttributeError):  # none, or not in float64
                continue
    return Predicted(_by_ranks(p, x, noise), *_moments(p))


def _by_cdf(pixels: Distribution, x: Tensor, noise: Tensor) -> Tensor:
    u: Tensor = pixels.cdf(x)
    support: Any = pixels.support
    if support.is_discrete:
        u = u - (1 - noise) * pixels.log_prob(x).exp()
    return u.clamp(0, 1)


def _by_interval(pixels: Distribution, x: Tensor, noise: Tensor) -> Tensor:
    return log_interval_mass(pixels, torch.full_like(x, -math.inf), x).exp().clamp(0, 1)


def _by_ranks(p: Distribution, x: Tensor, noise: Tensor) -> Tensor:
    below, equal = torch.zeros_like(noise), torch.zeros_like(noise)
    for _ in range(RANKED):
        drawn = p.sample()
        below += drawn < x
        equal += drawn == x
    return (below + noise * (equal + 1)) / (RANKED + 1)


def _levels(pixels: Distribution) -> Tensor | None:
    """All values of a mass over few, or whose masses are at hand, (levels, 1, ...), else None."""
    if not getattr(pixels, "has_enumerate_support", False):
        return None
    try:
        values: Tensor = pixels.enumerate_support(expand=False)
    except NotImplementedError:
        return None
    return values if isinstance(pixels, LevelMass) or len(values) <= RANKED else None


def _enumerated(pixels: Distribution, levels: Tensor, x: Tensor, noise: Tensor) -> Predicted:
    below, at, mean, second = (torch.zeros_like(noise) for _ in range(4))
    if isinstance(pixels, LevelMass):
        masses = iter(pixels._masses().split(_AT_ONCE))
    else:
        masses = (pixels.log_prob(part).exp() for part in levels.split(_AT_ONCE))
    for part, of in zip(levels.split(_AT_ONCE), masses, strict=True):
        mass, value = of.double(), part.double()
        below += torch.where(value < x, mass, 0.0).sum(0)
        at += torch.where(value == x, mass, 0.0).sum(0)
        mean += (mass * value).sum(0)
        second += (mass * value.square()).sum(0)
    sigma = (second - mean.square()).clamp_min(0).sqrt()
    return Predicted((below + noise * at).clamp(0, 1), mean, sigma)


def _moments(p: Distribution) -> tuple[Tensor | None, Tensor | None]:
    try:
        mean, sigma = p.mean.double(), p.variance.double().sqrt()
    except (NotImplementedError, AttributeError):
        return None, None
    finite = bool(torch.isfinite(mean).all() and torch.isfinite(sigma).all())
    return (mean, sigma) if finite else (None, None)
