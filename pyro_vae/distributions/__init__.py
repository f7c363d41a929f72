"""Distributions that torch and Pyro lack or get wrong."""

from pyro_vae.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_vae.distributions.cross_entropy import BernoulliCrossEntropy

__all__ = [
    "BernoulliCrossEntropy",
    "ContinuousBernoulli",
]
