"""Counts whose log-masses keep their digits however large they are."""

import math

import torch
from pyro import distributions as dist
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyro_vae.distributions.cumulative import of_negative_binomial, of_poisson
from pyro_vae.distributions.special import (
    log_beta_excess,
    log_power,
    stirling_rest,
    widened,
)

__all__ = ["NegativeBinomial", "Poisson"]

_LARGE = 8.0


class Poisson(dist.Poisson):  # type: ignore[misc]
    r"""Pyro's Poisson, with a log-mass that keeps its digits.

    .. math:: \log P(k) = -\tfrac12 \log 2\pi k - \delta(k) - k\,[d - \log(1 + d)],
        \qquad d = (\lambda - k) / k

    with Stirling's remainder δ (Loader 2000): the terms of :math:`k \log\lambda - \lambda
    - \log k!` are millions of nats at a count of a million, and cancel.

    Args:
        rate: Positive rate :math:`\lambda`.
        is_sparse: As Pyro's; it makes no difference here.
        validate_args: Whether to check parameters and values.

    Example:
        >>> Poisson(torch.tensor(900_000.0)).log_prob(torch.tensor(899_000.0))
        tensor(-8.3292)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of ``value`` events in nats."""
        if self._validate_args:
            self._validate_sample(value)
        rate, count = torch.broadcast_tensors(widened(self.rate), value.to(widened(self.rate)))
        large = count >= _LARGE
        k = torch.where(large, count, _LARGE)
        apart = (rate - k) / k
        peak = -0.5 * (2 * math.pi * k).log() - stirling_rest(k)
        near_rate = torch.log1p(apart.clamp(min=-0.9))
        ratio = torch.where(apart > -0.5, near_rate, rate.log() - k.log())
        far = peak - k * (apart - ratio)
        k = torch.where(large, 0.0, count)
        near = torch.xlogy(k, torch.where(k == 0, 1.0, rate)) - rate - torch.lgamma(k + 1)
        result: Tensor = torch.where(large, far, near).to(self.rate.dtype)
        return result

    def cdf(self, value: Tensor) -> Tensor:
        """Mass up to ``value``, right to 1e-8; not differentiable in it."""
        if self._validate_args:
            self._validate_sample(value)
        return of_poisson(self.rate, value)


class NegativeBinomial(dist.NegativeBinomial):  # type: ignore[misc]
    r"""Pyro's negative binomial, with a log-mass that keeps its digits.

    .. math:: P(k) = \frac{(1 - p)^r\,p^k}{k\,B(r, k)}

    from the mean outwards, as a Beta's density: the terms are millions of nats at a count of a
    million, and cancel.

    Args:
        total_count: Positive number :math:`r`, not necessarily a whole one.
        probs: :math:`p`, in [0, 1).
        logits: The same as log-odds; exactly one of the two is given.
        validate_args: Whether to check parameters and values.

    Example:
        >>> d = NegativeBinomial(torch.tensor(2.0), logits=torch.tensor(13.0))
        >>> d.log_prob(torch.tensor([0.0, 900_000.0]))
        tensor([-26.0000, -14.3241])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of ``value`` in nats."""
        if self._validate_args:
            self._validate_sample(value)
        logits = widened(self.logits)
        count, total = value.to(logits), widened(self.total_count)
        some = count > 0
        k = torch.where(some, count, 1.0)
        log_p, log_rest = logsigmoid(logits), logsigmoid(-logits)
        distance = (-logits).sigmoid() * k - logits.sigmoid() * total
        above = log_power(total, k, distance, log_rest, log_p)
        above = above - log_beta_excess(total, k) - k.log()
        result: Tensor = torch.where(some, above, total * log_rest)
        return result.to(self.logits.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """Mass up to ``value``, right to 1e-12; not differentiable in it."""
        if self._validate_args:
            self._validate_sample(value)
        return of_negative_binomial(self.total_count, self.logits, value)
