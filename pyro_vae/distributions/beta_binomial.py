"""The beta-binomial distribution with precise beta functions."""

import torch
from pyro import distributions as dist
from torch import Tensor

from pyro_vae.distributions.special import log_beta_excess, log_beta_power

__all__ = ["BetaBinomial"]


class BetaBinomial(dist.BetaBinomial):  # type: ignore[misc]
    r"""Pyro's beta-binomial, with a log-mass that keeps its digits in float32.

    .. math:: P(k) = \binom{n}{k} \frac{B(k + a, n - k + b)}{B(a, b)}

    Pyro's own subtracts ``lgamma`` of large arguments: at a concentration of 1e4 it is wrong by
    1e-2 nats, this one by 1e-5.

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
        a, b = self.concentration1, self.concentration0
        value = value.to(a.dtype)
        rest = self.total_count - value
        up, down = value + a, rest + b
        # The prior's, the binomial's and the posterior's beta function each from the posterior mean
        # outwards, measured from its nearer end: nothing large is subtracted.
        mirrored = up > down
        mean = torch.minimum(up, down) / (up + down)

        def power(first: Tensor, second: Tensor) -> Tensor:
            near, far = torch.where(mirrored, second, first), torch.where(mirrored, first, second)
            return log_beta_power(near, far, mean)

        spread = torch.log1p(down / up) + torch.log1p(up / down) - torch.log1p(self.total_count)
        result: Tensor = power(a, b) + power(value + 1, rest + 1)
        return result + spread + log_beta_excess(up, down)
