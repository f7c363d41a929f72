"""Distributions that torch and Pyro lack or get wrong."""

from pyro_vae.distributions.beta_binomial import BetaBinomial
from pyro_vae.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_vae.distributions.counts import NegativeBinomial, Poisson
from pyro_vae.distributions.cross_entropy import BernoulliCrossEntropy
from pyro_vae.distributions.discretized import Discretized
from pyro_vae.distributions.inflated import ZeroOneInflated
from pyro_vae.distributions.interval_mass import log_interval_mass, register_interval_mass
from pyro_vae.distributions.kumaraswamy import Kumaraswamy
from pyro_vae.distributions.level_binomial import LevelBinomial
from pyro_vae.distributions.level_categorical import LevelCategorical
from pyro_vae.distributions.logit_normal import LogitNormal
from pyro_vae.distributions.truncated_normal import TruncatedNormal

__all__ = [
    "BernoulliCrossEntropy",
    "BetaBinomial",
    "ContinuousBernoulli",
    "Discretized",
    "Kumaraswamy",
    "LevelBinomial",
    "LevelCategorical",
    "LogitNormal",
    "NegativeBinomial",
    "Poisson",
    "TruncatedNormal",
    "ZeroOneInflated",
    "log_interval_mass",
    "register_interval_mass",
]
