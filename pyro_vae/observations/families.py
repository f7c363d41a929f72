"""Families that the stock observations are made of, beside the classes of Pyro and our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyro_vae.distributions import Discretized, NegativeBinomial, ZeroOneInflated
from pyro_vae.heads import Param
from pyro_vae.heads.location import is_location

__all__ = ["OnLevels"]


@dataclass(frozen=True)
class OnLevels:
    """A family of masses over the levels 0 to 255, from a family of densities for [0, 1].

    The parameters are the density's own; a location is kept on [0, 1].

    Args:
        density: A class of densities that ``distributions.log_interval_mass`` knows.
        edges: ``"open"`` gives the mass outside [0, 1] to the first and last level, ``"bounded"``
            conditions the density on [0, 1].

    Example:
        >>> import torch
        >>> from pyro_vae import Head
        >>> head = Head.of(OnLevels(dist.Normal), "loc", scale="image")
        >>> p = head.build((4,))(torch.zeros(5))
        >>> p.log_prob(torch.full((4,), 128.0))
        tensor(-24.3962)
    """

    density: type[Any]
    edges: str = "open"
    support = constraints.integer_interval(0, 255)

    @property
    def __name__(self) -> str:
        """For messages."""
        return f"Discretized{self.density.__name__}"

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The density's own, with a location on [0, 1]."""
        own = dict(self.density.arg_constraints)
        parameters = {name: Param("pixel", ()) for name in own}
        for name in own:
            if is_location(self.density, parameters, name):
                own[name] = constraints.unit_interval
        return own

    def __call__(self, **parameters: Tensor) -> Discretized:
        """The mass over levels."""
        return Discretized(self.density(**parameters), edges=self.edges)


def logistic_mixture(logits: Tensor, loc: Tensor, scale: Tensor) -> Discretized:
    """A mixture of discretised logistics (Salimans et al. 2017, PixelCNN++).

    Args:
        logits: Of the components, (..., K).
        loc: Their locations on [0, 1], (..., K).
        scale: Their scales, (..., K).
    """
    components = dist.Categorical(logits=logits)
    return Discretized(dist.MixtureSameFamily(components, dist.Logistic(loc, scale)))


def zero_one_inflated(gate_logits: Tensor, loc: Tensor, scale: Tensor) -> ZeroOneInflated:
    """A discretised logistic with atoms at levels 0 and 255.

    Args:
        gate_logits: Of the atom at 0, the atom at 255 and the logistic, (..., 3).
        loc: Location on [0, 1].
        scale: Scale.
    """
    return ZeroOneInflated(Discretized(dist.Logistic(loc, scale)), gate_logits)


def negative_binomial(mean: Tensor, total_count: Tensor) -> Distribution:
    """A negative binomial by its mean; its variance is mean + mean² / total_count."""
    found: Distribution = NegativeBinomial(total_count, logits=mean.log() - total_count.log())
    return found


def log_normal(scale: Tensor, sigma: Tensor) -> Distribution:
    """A log-normal by its median, the scale, and the standard deviation sigma of log x."""
    found: Distribution = dist.LogNormal(scale.log(), sigma)
    return found
