"""The beta-binomial distribution with precise beta functions."""

import torch
from pyro import distributions as dist
from torch import Tensor

from pyro_vae.distributions.cumulative import of_levels
from pyro_vae.distributions.special import (
    log_beta_excess,
    log_choose_excess,
    log_power,
    widened,
)

__all__ = ["BetaBinomial"]


class BetaBinomial(dist.BetaBinomial):  # type: ignore[misc]
    r"""Pyro's beta-binomial, with a log-mass that keeps its digits in float32.

    .. math:: P(k) = \binom{n}{k} \frac{B(k + a, n - k + b)}{B(a, b)}

    Pyro's own subtracts ``lgamma`` of large arguments: at a concentration of 1e4 it is wrong by
    1e-2 nats, this one by 1e-5, the rounding of the result. With float64 shapes large terms
    cancel on paper: right to 1e-13 of the result or of a nat, for shapes from 1e-3 to 1e6.

    Args:
        concentration1: Positive shape :math:`a`.
        concentration0: Positive shape :math:`b`.
        total_count: Number of trials :math:`n`.
        validate_args: Whether to check parameters and values.

    Example:
        >>> BetaBinomial(torch.tensor(2.0), 3.0, 255).log_prob(torch.tensor([0.0, 100.0]))
        tensor([-8.6249, -4.9979])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of ``value`` successes in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # Beta functions of thousands of nats cancel here: single precision has no digits for that.
        a, b = widened(self.concentration1), widened(self.concentration0)
        count = value.to(a.dtype)
        total = self.total_count.to(a.dtype)
        rest = total - count
        if a.dtype != self.concentration1.dtype:  # digits to spare: the plain sum, far faster
            ratio = _log_beta(count + a, rest + b) - _log_beta(a, b)
            plain = ratio - torch.log1p(total) - _log_beta(count + 1, rest + 1)
            result: Tensor = plain.to(self.concentration1.dtype)
            return result
        return _from_the_mean(count, rest, a, b)

    def cdf(self, value: Tensor) -> Tensor:
        """Mass up to ``value``, the sum of them; of one total count only.

        Raises:
            NotImplementedError: If the batch has several total counts.
        """
        if self._validate_args:
            self._validate_sample(value)
        return of_levels(self.log_prob(self.enumerate_support(expand=False)), value)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _from_the_mean(count: Tensor, rest: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The share of successes and the shapes' mean, each against the mean of the two together."""
    top, bottom = count + a, rest + b
    whole = top + bottom
    between = (a * rest - b * count) / whole
    log_x, log_rest = (top / whole).log(), (bottom / whole).log()
    powers = log_power(count, rest, between, log_x, log_rest)
    powers = powers + log_power(a, b, -between, log_x, log_rest)
    excess = log_beta_excess(top, bottom) - log_beta_excess(a, b)
    return log_choose_excess(count, rest) + excess + powers
