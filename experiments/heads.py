"""Observations that the specs name by ``experiments.heads:NAME``: distributions as found elsewhere.

Each is a :class:`pyro_vae.Head` like a user's own, so that ``compare`` can set it beside ours.
"""

from __future__ import annotations

from operator import attrgetter

import pyro.distributions as dist
import torch
from torch import Tensor

import pyro_vae as pv

__all__ = ["beta_at_the_ends", "clamped", "plain", "unbounded_beta"]


class PlainContinuousBernoulli(dist.ContinuousBernoulli):  # type: ignore[misc]
    r"""The continuous Bernoulli by its formula in λ, in the precision that it is given.

    .. math:: \log p(x) = x \log\lambda + (1 - x) \log(1 - \lambda)
              + \log\frac{2 \tanh^{-1}(1 - 2\lambda)}{1 - 2\lambda}

    In float32 1 − 2λ is exactly ±1 for a logit beyond about ±17, and the constant is infinite.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, by the formula; a Taylor series near λ = ½, where it is 0/0."""
        rate = torch.sigmoid(self.logits)
        slope = 1 - 2 * rate
        near = slope.abs() < 2e-3
        away = torch.where(near, 0.5, slope)
        constant = torch.where(
            near, torch.log(2 + 2 * slope.square() / 3), torch.log(2 * torch.atanh(away) / away)
        )
        return torch.xlogy(value, rate) + torch.xlogy(1 - value, 1 - rate) + constant


clamped = pv.Head.of(dist.ContinuousBernoulli, "logits", parameter=attrgetter("base_dist.probs"))
"""torch's continuous Bernoulli, which keeps λ at least 1.2e-7 from 0 and 1 in float32."""

plain = pv.Head.of(
    PlainContinuousBernoulli, "logits", parameter=attrgetter("base_dist.probs")
)  # fmt: skip
"""A continuous Bernoulli by its formula, as first written."""

unbounded_beta = pv.Head.of(dist.Beta, "concentration1", "concentration0")
"""A Beta density on dequantised pixels whose concentrations may grow for ever."""

beta_at_the_ends = pv.Head.of(dist.Beta, "concentration1", "concentration0", levels="grey")
"""The same on pixels k/255, some of which are exactly 0 or 1, where it has no finite density."""
