"""Exact zeros and ones: true log-densities there, and the words that refuse infinite ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from pyro_vae import VAE, InputError, fit, networks
from pyro_vae.checks import check_images
from pyro_vae.distributions import BernoulliCrossEntropy

from .test_observations import at
from .zoo import CASES, NAMES

RAWS = [-0.5, 0.0, 1.5]
DENSITIES = [
    name for name in NAMES if CASES[name]().levels == "dequantised" and CASES[name]().kind != "loss"
]
REFUSED = {"Beta", "Kumaraswamy", "LogitNormal"}
"""Families whose density is infinite, or 0, at an end for some of their parameters."""


def _continuous_bernoulli(d: Any, x: float) -> float:
    logit = mpmath.mpf(float(d.logits))
    if abs(logit) < 1e-12:
        return 0.0
    return float(logit * x + mpmath.log(logit / mpmath.expm1(logit)))


def _kumaraswamy(d: Any, x: float) -> float:
    a, b = float(d.concentration1), float(d.concentration0)
    ends = scipy.special.xlogy(a - 1, x) + scipy.special.xlog1py(b - 1, -(x**a))
    return float(np.log(a * b) + ends)


def _truncated_normal(d: Any, x: float) -> float:
    low, high = (0 - float(d.loc)) / float(d.scale), (1 - float(d.loc)) / float(d.scale)
    density: float = scipy.stats.truncnorm.logpdf(x, low, high, float(d.loc), float(d.scale))
    return density


TRUE: dict[str, Callable[[Any, float], float]] = {
    "Normal": lambda d, x: scipy.stats.norm.logpdf(x, d.loc, d.scale).item(),
    "Laplace": lambda d, x: scipy.stats.laplace.logpdf(x, d.loc, d.scale).item(),
    "Cauchy": lambda d, x: scipy.stats.cauchy.logpdf(x, d.loc, d.scale).item(),
    "StudentT": lambda d, x: scipy.stats.t.logpdf(x, d.df, d.loc, d.scale).item(),
    "Beta": lambda d, x: scipy.stats.beta.logpdf(x, d.concentration1, d.concentration0).item(),
    "LogitNormal": lambda d, x: -np.inf,
    "ContinuousBernoulli": _continuous_bernoulli,
    "Kumaraswamy": _kumaraswamy,
    "TruncatedNormal": _truncated_normal,
}


@pytest.mark.parametrize("raw", RAWS)
@pytest.mark.parametrize("x", [0.0, 1.0])
@pytest.mark.parametrize("name", DENSITIES)
def test_log_prob_at_the_ends_is_true(name: str, x: float, raw: float) -> None:
    d = at(name, raw)
    found = float(d.log_prob(torch.tensor([x], dtype=torch.float64)))
    # Whatever the family, the value is the limit of its neighbours', or infinite as they tend to be
    near = 1e-3 ** torch.arange(1, 5, dtype=torch.float64)[:, None]
    approach = d.log_prob(near if x == 0 else 1 - near)
    if np.isfinite(found):
        assert float(approach[-1]) == pytest.approx(found, rel=1e-6, abs=1e-6)
    else:
        assert (float(approach[-1] - approach[-2]) > 0) is (found > 0)
    oracle = TRUE.get(type(d.base_dist).__name__)
    if oracle is not None:
        with np.errstate(divide="ignore"):
            assert found == pytest.approx(oracle(d.base_dist, x), rel=1e-9, abs=1e-12)


def test_the_oracles_cover_what_there_is() -> None:
    families = {type(at(name, 0.0).base_dist).__name__ for name in DENSITIES}
    assert len(families & set(TRUE)) >= 5


@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize("name", DENSITIES)
def test_floats_at_the_ends_are_refused_where_the_density_is_infinite(
    name: str, tmp_path: Path, end: float
) -> None:
    vae = VAE((1, 2, 2), 2, CASES[name](), networks.MLP(hidden=4))
    family = type(at(name, 0.0).base_dist).__name__
    inside = torch.rand(3, 1, 2, 2) * 0.9 + 0.05
    check_images(vae, inside)
    images = inside.clone()
    images[1, 0, 1, 0] = end
    if family in REFUSED:
        with pytest.raises(InputError, match=rf"{vae.obs.title}.*infinite density.*uint8"):
            fit(vae, images, epochs=1, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:
        check_images(vae, images)


@pytest.mark.parametrize("probs", [0.0, 0.3, 1.0])
def test_cross_entropy_at_the_ends(probs: float) -> None:
    d = BernoulliCrossEntropy(probs=torch.tensor(probs))
    found = d.log_prob(torch.tensor([0.0, 1.0])).tolist()
    expected = scipy.stats.bernoulli.logpmf([0, 1], probs)
    assert found == pytest.approx(expected, rel=1e-6)
