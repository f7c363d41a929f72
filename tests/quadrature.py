"""Expectations under one site's distribution by quadrature or summation: the tests' oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.distributions import BernoulliCrossEntropy

__all__ = ["expectation", "points"]

PANELS, NODES = 1200, 12


def expectation(p: Any, f: Callable[[Tensor], Tensor], below: float | None = None) -> float:
    """E[f(x)], or its part with x up to ``below``, in float64.

    Args:
        p: A distribution of batch_shape () and event_shape (1,), in float64.
        f: Function of a vector of values.
        below: Where to stop, or None.
    """
    x, weights = points(p, below)
    # In blocks: a mixture over levels needs all levels for each point.
    log_prob = torch.cat([p.log_prob(part[:, None]) for part in x.split(20_000)])
    return float((log_prob.exp() * weights * f(x)).sum())


def points(p: Any, below: float | None = None) -> tuple[Tensor, Tensor]:
    """Points and weights that integrate over the distribution's support."""
    support = getattr(p.support, "base_constraint", p.support)
    if isinstance(p.base_dist, BernoulliCrossEntropy):
        support = constraints.boolean  # a mass there, and a loss on what lies between
    if support.is_discrete:
        x = _integers(p, support)
        x = x if below is None else x[x <= below]
        return x, torch.ones_like(x)
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        # x = sigmoid(t) on the interval smooths what a density may do at the ends.
        low, width = float(low), float(high) - float(low)
        end = 36.0 if below is None else float(np.log((below - low) / (low + width - below)))
        t, weights = _panels(-36.0, end)
        x, rest = torch.sigmoid(t), torch.sigmoid(-t)
        return low + width * x, weights * width * x * rest
    if low is not None:
        # log x = t: a log-normal's second moment lies 2σ² above its middle.
        t, weights = _panels(-150.0, 150.0 if below is None else float(np.log(below - float(low))))
        return float(low) + t.exp(), weights * t.exp()
    if support is not constraints.real:
        raise NotImplementedError(f"no quadrature over {support}")
    # x = m + w sinh(t) reaches 1e17 widths, where the tails of a t with 2.1 degrees end.
    middle, width = _middle_and_width(p)
    end = 40.0 if below is None else float(np.arcsinh((below - middle) / width))
    t, weights = _panels(-40.0, end)
    return middle + width * torch.sinh(t), weights * width * torch.cosh(t)


def _integers(p: Any, support: Any) -> Tensor:
    if support is constraints.boolean:
        return torch.tensor([0.0, 1.0], dtype=torch.float64)
    high = getattr(support, "upper_bound", None)
    if high is not None:
        return torch.arange(int(high) + 1, dtype=torch.float64)
    size = 1024  # counts have no end: go on until what a doubling adds is nothing
    while True:
        x = torch.arange(size, dtype=torch.float64)
        added = p.log_prob(x[size // 2 :, None]).exp() * x[size // 2 :].square()
        if float(added.sum()) < 1e-12 and float(added[-1]) <= float(added[0]):
            return x
        size *= 2


def _panels(start: float, end: float) -> tuple[Tensor, Tensor]:
    """Composite Gauss-Legendre."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(NODES))
    half = (end - start) / PANELS / 2
    centres = start + half * (2 * torch.arange(PANELS, dtype=torch.float64) + 1)
    return (centres[:, None] + half * nodes).flatten(), (half * weights).repeat(PANELS)


def _middle_and_width(p: Any) -> tuple[float, float]:
    """Median and half the interquartile range of some samples."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        low, middle, high = (
            p.sample((2001,))
            .flatten()
            .quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
        )
    return float(middle), float(high - low) / 2
