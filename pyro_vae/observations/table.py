"""The table of stock observations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt
from operator import attrgetter

import pyro.distributions as dist
from pyro.distributions import Independent
from torch import Tensor

from pyro_vae import links
from pyro_vae.distributions import (
    BernoulliCrossEntropy,
    BetaBinomial,
    ContinuousBernoulli,
    Kumaraswamy,
    LevelBinomial,
    LevelCategorical,
    LogitNormal,
    Poisson,
    TruncatedNormal,
)
from pyro_vae.heads import Head, Param
from pyro_vae.observations.families import (
    OnLevels,
    log_normal,
    logistic_mixture,
    negative_binomial,
    zero_one_inflated,
)

__all__ = ["GROUPS", "TABLE", "Entry"]

GROUPS = {
    "pixels": "pixels as densities: 8-bit levels with uniform noise, or floats",
    "levels": "pixels as masses on their 256 levels",
    "binary": "pixels of 0 and 1",
    "counts": "counts 0, 1, 2, ... without an upper bound",
    "real": "real numbers, as given",
    "positive": "positive numbers over a wide range",
}
"""What each group of observations is for."""


@dataclass(frozen=True)
class Entry:
    """One stock observation.

    Attributes:
        head: Its head.
        assumes: What it assumes of the data, in one line.
        range: The data it takes.
        group: The data it suits, a key of :data:`GROUPS`.
    """

    head: Head
    assumes: str
    range: str
    group: str = "pixels"


_CONCENTRATION = Param(link=links.Bounded(1e-3, 1e3))
# A mass cannot grow beyond 1 as a density can: its scale needs no higher floor per pixel.
_LEVEL_SCALE = Param(link="softplus", floor=1e-3)
# Where float32 resolves one count, on the canonical link's logarithmic scale.
_RATE = Param(link=links.Bounded(1e-4, 1e6))
_PROBS = attrgetter("base_dist.probs")
_LEVELS = "0 to 255"


def _level_location(likelihood: Independent) -> Tensor:
    """The location of a discretised density, in levels."""
    location: Tensor = 255 * likelihood.base_dist.base_dist.loc
    return location


def _level_probs(likelihood: Independent) -> Tensor:
    """The probability of a binomial, or of a discretised continuous Bernoulli, in levels."""
    base = likelihood.base_dist
    location: Tensor = 255 * getattr(base, "base_dist", base).probs
    return location


TABLE: dict[str, Entry] = {
    "bernoulli": Entry(
        Head.of(BernoulliCrossEntropy, "logits", parameter=_PROBS, levels="grey", kind="loss"),
        "pixels are 0 or 1; on grey pixels it is cross-entropy, a loss and no likelihood",
        "[0, 1]",
        "binary",
    ),
    "continuous-bernoulli": Entry(
        Head.of(ContinuousBernoulli, "logits", parameter=_PROBS),
        "pixels follow a truncated exponential on [0, 1]",
        "[0, 1]",
    ),
    "normal": Entry(
        Head.of(dist.Normal, "loc", scale=sqrt(0.5)),
        "one σ for everything, set by hand; σ = √½ is the summed squared error",
        "real",
    ),
    "normal-learned-sigma": Entry(
        Head.of(dist.Normal, "loc", scale="image"),
        "σ is learned: per dataset, dimension, image or pixel",
        "real",
    ),
    "normal-optimal-sigma": Entry(
        Head.of(dist.Normal, "loc", scale=Param("batch", source="residual")),
        "σ is the error's root mean square: per batch a Normal, per image or pixel a loss",
        "real",
    ),
    "truncated-normal": Entry(
        Head.of(TruncatedNormal, "loc", scale="image"),
        "a Normal conditioned on [0, 1], so that no mass lies outside",
        "[0, 1]",
    ),
    "laplace": Entry(
        Head.of(dist.Laplace, "loc", scale="image"),
        "errors have heavier tails; its scale is learned as the Normal's σ",
        "real",
    ),
    "student-t": Entry(
        Head.of(dist.StudentT, "loc", df=Param("dataset", floor=2.0), scale="image"),
        "errors have tails as heavy as the data ask for: the degrees of freedom are learned",
        "real",
    ),
    "cauchy": Entry(
        Head.of(dist.Cauchy, "loc", scale="image", display=attrgetter("base_dist.loc")),
        "errors have no mean: it is shown by its median, and outliers hardly move it",
        "real",
    ),
    "beta": Entry(
        Head.of(dist.Beta, concentration1=_CONCENTRATION, concentration0=_CONCENTRATION),
        "pixels follow a Beta density with bounded concentrations",
        "(0, 1)",
    ),
    "kumaraswamy": Entry(
        Head.of(Kumaraswamy, concentration1=_CONCENTRATION, concentration0=_CONCENTRATION),
        "as Beta, with a cdf in closed form",
        "(0, 1)",
    ),
    "logit-normal": Entry(
        Head.of(
            LogitNormal,
            loc=Param(link="identity"),
            scale="image",
            parameter=attrgetter("base_dist.median"),
        ),
        "the logit of a pixel is Normal",
        "(0, 1)",
    ),
    "discretized-normal": Entry(
        Head.of(OnLevels(dist.Normal), "loc", scale=_LEVEL_SCALE, parameter=_level_location),
        "a Normal's mass on each level; what lies outside goes to the first and the last",
        _LEVELS,
        "levels",
    ),
    "discretized-truncated-normal": Entry(
        Head.of(
            OnLevels(dist.Normal, "bounded"),
            "loc",
            scale=_LEVEL_SCALE,
            parameter=_level_location,
        ),
        "a Normal's mass on each level, conditioned on [0, 1]",
        _LEVELS,
        "levels",
    ),
    "discretized-laplace": Entry(
        Head.of(OnLevels(dist.Laplace), "loc", scale=_LEVEL_SCALE, parameter=_level_location),
        "a Laplace's mass on each level",
        _LEVELS,
        "levels",
    ),
    "discretized-logistic": Entry(
        Head.of(OnLevels(dist.Logistic), "loc", scale=_LEVEL_SCALE, parameter=_level_location),
        "a logistic's mass on each level",
        _LEVELS,
        "levels",
    ),
    "logistic-mixture": Entry(
        Head.of(
            logistic_mixture,
            logits=Param(shape=(3,), link="identity"),
            loc=Param(shape=(3,), link="sigmoid"),
            scale=Param(shape=(3,), link="softplus", floor=1e-3),
            levels="levels",
            kind="mass",
        ),
        "a mixture of three discretised logistics",
        _LEVELS,
        "levels",
    ),
    "zero-one-inflated": Entry(
        Head.of(
            zero_one_inflated,
            gate_logits=Param(shape=(3,), link="identity"),
            loc=Param(link="sigmoid"),
            scale=_LEVEL_SCALE,
            levels="levels",
            kind="mass",
        ),
        "a discretised logistic with atoms at black and white, as MNIST's pixels have",
        _LEVELS,
        "levels",
    ),
    "discretized-continuous-bernoulli": Entry(
        Head.of(OnLevels(ContinuousBernoulli), "logits", parameter=_level_probs),
        "a continuous Bernoulli's mass on each level",
        _LEVELS,
        "levels",
    ),
    "discretized-kumaraswamy": Entry(
        Head.of(
            OnLevels(Kumaraswamy), concentration1=_CONCENTRATION, concentration0=_CONCENTRATION
        ),
        "a Kumaraswamy's mass on each level",
        _LEVELS,
        "levels",
    ),
    "discretized-beta": Entry(
        Head.of(OnLevels(dist.Beta), concentration1=_CONCENTRATION, concentration0=_CONCENTRATION),
        "a Beta's mass on each level, by quadrature",
        _LEVELS,
        "levels",
    ),
    "binomial": Entry(
        Head.of(LevelBinomial, "logits", parameter=_level_probs, levels="levels", kind="mass"),
        "levels are 255 coin tosses: narrower than any photograph's noise",
        _LEVELS,
        "levels",
    ),
    "beta-binomial": Entry(
        Head.of(
            partial(BetaBinomial, total_count=255),
            concentration1=_CONCENTRATION,
            concentration0=_CONCENTRATION,
        ),
        "a binomial whose probability follows a Beta",
        _LEVELS,
        "levels",
    ),
    "categorical": Entry(
        Head.of(
            LevelCategorical, logits=Param(shape=(256,), features=16), levels="levels", kind="mass"
        ),
        "a probability for each level, from 16 numbers per pixel and one layer for all pixels",
        _LEVELS,
        "levels",
    ),
    "poisson": Entry(
        Head.of(Poisson, rate=_RATE, levels="counts"),
        "counts whose variance is their mean",
        "0, 1, 2, ...",
        "counts",
    ),
    "negative-binomial": Entry(
        Head.of(
            negative_binomial,
            mean=_RATE,
            total_count=Param("dimension", link=links.Bounded(1e-2, 1e3)),
            levels="counts",
            kind="mass",
        ),
        "counts whose variance is mean + mean² / total_count, learned per dimension",
        "0, 1, 2, ...",
        "counts",
    ),
    "real-normal": Entry(
        Head.of(dist.Normal, "loc", scale="dimension", levels="real"),
        "vectors of real numbers with Normal errors, σ learned per dimension",
        "real",
        "real",
    ),
    "real-student-t": Entry(
        Head.of(
            dist.StudentT,
            "loc",
            df=Param("dataset", floor=2.0),
            scale="dimension",
            levels="real",
        ),
        "the same with heavier tails",
        "real",
        "real",
    ),
    "lognormal": Entry(
        Head.of(
            log_normal,
            scale=Param(link=links.Bounded(1e-6, 1e6)),
            sigma=Param("dimension", link=links.Bounded(1e-2, 10.0)),
            levels="positive",
        ),
        "the logarithm is Normal about that of the scale, σ learned per dimension",
        "(0, ∞)",
        "positive",
    ),
}
"""The stock observations by name; adding one is adding an entry."""
