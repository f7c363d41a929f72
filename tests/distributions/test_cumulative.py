"""Cumulative masses against sums by mpmath, and scipy's."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch.distributions import Beta, Categorical

from pyro_vae import distributions as ours
from tests.peers.adapters import ADAPTERS

MASSES = {
    "Poisson": 60,
    "NegativeBinomial": 60,
    "BetaBinomial": 255,
    "LevelBinomial": 255,
    "LevelCategorical": 2,
    "Discretized": 255,
    "ZeroOneInflated": 255,
}


def double(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_every_class_has_a_cdf() -> None:
    """The densities' own are tested beside them; a loss on grey pixels has none."""
    loss, densities = (
        "BernoulliCrossEntropy",
        {"ContinuousBernoulli", "TruncatedNormal", "LogitNormal", "Kumaraswamy"},
    )
    assert set(ADAPTERS) == set(MASSES) | densities | {loss}
    for name, adapter in ADAPTERS.items():
        made = type(adapter.make(*map(torch.tensor, adapter.parameters)))
        assert (name != loss) == any(
            "cdf" in vars(c) for c in made.__mro__ if c.__module__.startswith("pyro_vae.")
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MASSES)
def test_it_is_the_sum_of_the_masses(name: str, dtype: torch.dtype) -> None:
    adapter, top = ADAPTERS[name], MASSES[name]
    given = [torch.tensor(values, dtype=dtype) for values in adapter.parameters]
    p = adapter.make(*given)
    values = torch.arange(top + 1, dtype=dtype)[:, None]
    found = p.cdf(values).double()
    assert found.shape == (top + 1, 2)
    for k in range(2):
        exact = [mp.mpf(float(value[k])) for value in given]
        with mp.workdps(60):
            masses = [mp.exp(adapter.exact(mp.mpf(i), *exact)) for i in range(top + 1)]
            wanted = np.array([float(mp.fsum(masses[: i + 1])) for i in range(top + 1)])
        tolerance = 5e-6 if dtype is torch.float32 else 1e-8 if name == "Poisson" else 3e-12
        some = wanted > 1e-30
        assert some.any() or (name in ("Poisson", "NegativeBinomial") and k == 1)
        np.testing.assert_allclose(found[some, k].numpy(), wanted[some], rtol=tolerance)


@pytest.mark.parametrize("name", MASSES)
def test_it_is_a_step_from_0_to_1(name: str) -> None:
    adapter = ADAPTERS[name]
    given = [torch.tensor(values, dtype=torch.float64) for values in adapter.parameters]
    p, top = adapter.make(*given), MASSES[name]
    p._validate_args = False
    assert p.cdf(double(-1.0)).tolist() == [0, 0]
    far = 1e9 if name in ("Poisson", "NegativeBinomial") else top
    torch.testing.assert_close(p.cdf(torch.tensor(float(far)).double()), torch.ones(2).double())
    between = double([1.0, 1.5, 1.999])[:, None]
    assert torch.equal(p.cdf(between), p.cdf(between.floor()))
    wide = p.expand((3, 2)).cdf(torch.arange(3.0).double()[:, None])
    torch.testing.assert_close(wide, p.cdf(torch.arange(3.0).double()[:, None]))
    assert p.cdf(torch.ones(5, 1, 2).double()).shape == (5, 1, 2)


@pytest.mark.parametrize(
    ("p", "theirs"),
    [
        (lambda: ours.Poisson(double(9e5)), stats.poisson(9e5)),
        (
            lambda: ours.NegativeBinomial(double(4.0), logits=double(12.0)),
            stats.nbinom(4.0, 1 / (1 + np.exp(12.0))),
        ),
        (
            lambda: ours.BetaBinomial(double(0.7), double(30.0), total_count=1000),
            stats.betabinom(1000, 0.7, 30.0),
        ),
    ],
)
def test_large_counts_are_scipys(p: Any, theirs: Any) -> None:
    at = np.floor(theirs.ppf([1e-6, 0.01, 0.5, 0.9, 0.9999]))
    np.testing.assert_allclose(p().cdf(torch.tensor(at)).numpy(), theirs.cdf(at), rtol=1e-8)


def test_what_lies_outside_of_bounded_edges_is_not_counted() -> None:
    base = torch.distributions.Normal(double(0.9), 0.3)
    p = ours.Discretized(base, levels=5, edges="bounded")
    normal = stats.norm(0.9, 0.3)
    edges = np.linspace(0, 1, 6)
    wanted = (normal.cdf(edges[1:]) - normal.cdf(0)) / (normal.cdf(1) - normal.cdf(0))
    np.testing.assert_allclose(p.cdf(torch.arange(5.0).double()).numpy(), wanted, rtol=1e-12)


def test_wide_levels_of_a_beta_and_of_a_categorical() -> None:
    shapes = double(2.0), double(0.5)
    p = ours.Discretized(Beta(*shapes), levels=3)
    wanted = stats.beta(2.0, 0.5).cdf([1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(p.cdf(torch.arange(3.0).double()).numpy(), wanted, rtol=1e-10)
    q = ours.ZeroOneInflated(Categorical(probs=double([0.2, 0.3, 0.5])), torch.zeros(3).double())
    wanted = [(1 + 0.2) / 3, (1 + 0.5) / 3, 1]
    np.testing.assert_allclose(q.cdf(torch.arange(3.0).double()).numpy(), wanted, rtol=1e-12)


def test_it_has_the_parameters_gradient() -> None:
    rate = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(ours.Poisson(rate).cdf(double(4.0)), rate)
    assert float(found) == pytest.approx(-stats.poisson(3.0).pmf(4), rel=1e-9)
    logits = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(ours.LevelBinomial(logits, 9).cdf(torch.tensor(4.0)), logits)
    ends = [stats.binom(8, 1 / (1 + np.exp(-x))).cdf(4) for x in (0.3 + 1e-6, 0.3 - 1e-6)]
    assert float(found) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)
