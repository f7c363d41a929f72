"""Densities on 256 levels, and the atoms around them: one table of cases, one line each."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae.distributions import (
    BetaBinomial,
    ContinuousBernoulli,
    Discretized,
    Kumaraswamy,
    LogitNormal,
    TruncatedNormal,
    ZeroOneInflated,
)

# Statistical tests: seed 0 (conftest), expected to fail once in FAILURE_RATE of all seeds.
FAILURE_RATE = 1e-4


def logistic_mixture(logits: Tensor, loc: Tensor) -> Any:
    components = dist.Logistic(loc.expand_as(logits), 0.03)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


def parameter(*values: float) -> Tensor:
    return torch.tensor(values)


# Each takes one tensor, so that the same lines serve for shapes and capture.
CASES: dict[str, tuple[Callable[[Tensor], Any], Tensor]] = {
    "normal": (lambda p: Discretized(dist.Normal(p, 0.1)), parameter(-0.05, 0.4)),
    "normal-bounded": (
        lambda p: Discretized(dist.Normal(p, 0.1), edges="bounded"),
        parameter(-0.05, 0.4),
    ),
    "normal-narrow": (lambda p: Discretized(dist.Normal(p, 1e-3)), parameter(0.5, 0.7)),
    "normal-16": (
        lambda p: Discretized(dist.Normal(p, 0.3), levels=16, low=-1.0),
        parameter(-0.9, 0.2),
    ),
    "truncated-normal": (lambda p: Discretized(TruncatedNormal(p, 0.2)), parameter(-0.5, 0.4)),
    "logistic": (lambda p: Discretized(dist.Logistic(p, 0.05)), parameter(0.02, 0.9)),
    "laplace": (lambda p: Discretized(dist.Laplace(p, 0.1)), parameter(0.02, 0.9)),
    "kumaraswamy": (lambda p: Discretized(Kumaraswamy(p, 2.0)), parameter(0.3, 5.0)),
    "logit-normal": (lambda p: Discretized(LogitNormal(p, 1.0)), parameter(-4.0, 1.0)),
    "continuous-bernoulli": (
        lambda p: Discretized(ContinuousBernoulli(logits=p)),
        parameter(-60.0, 2.0),
    ),
    "beta": (lambda p: Discretized(dist.Beta(p, 0.7)), parameter(0.2, 30.0)),
    "logistic-mixture": (
        lambda p: Discretized(logistic_mixture(p, parameter(0.0, 0.3, 0.8))),
        torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]),
    ),
    "inflated-normal": (
        lambda p: ZeroOneInflated(Discretized(dist.Normal(0.4, 0.2)), p),
        torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]),
    ),
    "inflated-beta-binomial": (
        lambda p: ZeroOneInflated(BetaBinomial(torch.tensor(2.0), 3.0, 255), p),
        torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]),
    ),
    "inflated-categorical": (
        lambda p: ZeroOneInflated(dist.Categorical(torch.arange(1.0, 17.0)), p),
        torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]]),
    ),
}
cases = pytest.mark.parametrize("name", CASES)


def make(name: str) -> Any:
    build, values = CASES[name]
    return build(values)


def masses(d: Any) -> Tensor:
    result: Tensor = d.log_prob(d.enumerate_support()).double().exp()
    return result


@cases
def test_masses_sum_to_one(name: str) -> None:
    torch.testing.assert_close(
        masses(make(name)).sum(0), torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0
    )


@cases
def test_moments_mode_and_entropy_are_those_of_the_masses(name: str) -> None:
    d = make(name)
    p = masses(d)
    k = torch.arange(d.levels, dtype=torch.float64)[:, None]
    mean = (k * p).sum(0)
    variance = ((k - mean) ** 2 * p).sum(0)
    torch.testing.assert_close(d.mean.double(), mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(d.variance.double(), variance, atol=1e-2, rtol=1e-5)
    assert (p.gather(0, d.mode[None].long()) >= p.max(0).values - 1e-7).all()
    entropy = -torch.xlogy(p, p).sum(0)
    torch.testing.assert_close(d.entropy().double(), entropy, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("loc", "level"), [(1.0, 255), (0.3, 76), (0.0, 0)])
def test_the_mode_of_a_wide_normal_is_the_level_at_its_location(loc: float, level: int) -> None:
    d = Discretized(dist.Normal(torch.tensor(loc), 100.0), edges="bounded")
    assert int(d.mode) == level


@cases
def test_samples_follow_the_masses(name: str) -> None:
    d = make(name)
    samples = d.sample((20000,))
    assert samples.shape == (20000, 2)
    assert d.support.check(samples).all()
    for column, p in zip(samples.T, masses(d).T, strict=True):
        counts = np.bincount(column.long().numpy(), minlength=d.levels)
        expected = (p / p.sum() * len(column)).numpy()
        often = expected >= 5
        observed = np.append(counts[often], counts[~often].sum())
        expected = np.append(expected[often], max(expected[~often].sum(), 1e-9))
        if expected[-1] < 5:
            observed, expected = (np.append(v[:-2], v[-2:].sum()) for v in (observed, expected))
        chi = scipy.stats.chisquare(observed, expected * observed.sum() / expected.sum())
        assert chi.pvalue > FAILURE_RATE or len(observed) == 1


@cases
def test_it_behaves_as_a_distribution(name: str) -> None:
    d = make(name)
    assert (d.batch_shape, d.event_shape, d.has_rsample) == ((2,), (), False)
    assert d.enumerate_support().shape == (d.levels, 2)
    assert d.enumerate_support(expand=False).shape == (d.levels, 1)
    k = torch.tensor([0.0, d.levels - 1.0])
    wide = d.expand((3, 2))
    assert (wide.batch_shape, type(wide)) == ((3, 2), type(d))
    for twin in (wide, copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        torch.testing.assert_close(twin.log_prob(k), d.log_prob(k).expand(twin.batch_shape))
    assert d.log_prob(torch.zeros(5, 1)).shape == (5, 2)
    assert wide.to_event(1).log_prob(torch.zeros(2)).shape == (3,)
    torch.testing.assert_close(d.log_prob(k.to(torch.uint8)), d.log_prob(k))
    for outside in (-1.0, 0.5, float(d.levels)):
        with pytest.raises(ValueError, match="within the support"):
            d.log_prob(torch.tensor(outside))
    with pytest.raises(NotImplementedError, match="depends on its base"):
        type(d).infer_shapes(base=(2,))


@cases
def test_log_prob_can_be_captured(name: str) -> None:
    build, values = CASES[name]

    def log_prob(k: Tensor, p: Tensor) -> Tensor:
        result: Tensor = build(p).log_prob(k)
        return result

    pyro.enable_validation(False)
    graph = make_fx(log_prob)(torch.zeros(2), values)
    k = torch.tensor([0.0, 7.0])
    torch.testing.assert_close(graph(k, values), log_prob(k, values))


@pytest.mark.parametrize("edges", ["open", "bounded"])
def test_edges_take_or_leave_the_mass_outside(edges: str) -> None:
    d = Discretized(dist.Normal(torch.tensor(-0.1), 0.2), edges=edges)
    normal = scipy.stats.norm(-0.1, 0.2)
    first = normal.cdf(1 / 256) if edges == "open" else normal.cdf(1 / 256) - normal.cdf(0)
    whole = 1.0 if edges == "open" else normal.cdf(1) - normal.cdf(0)
    assert d.log_prob(torch.tensor(0.0)).exp().item() == pytest.approx(first / whole, rel=1e-5)


def test_a_bounded_normal_is_a_truncated_normal() -> None:
    loc, scale = torch.tensor([-2.0, 0.3, 1.4]), torch.tensor([0.5, 0.1, 3.0])
    k = torch.arange(256.0)[:, None]
    torch.testing.assert_close(
        Discretized(dist.Normal(loc, scale), edges="bounded").log_prob(k),
        Discretized(TruncatedNormal(loc, scale)).log_prob(k),
        atol=2e-5,
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "base", [TruncatedNormal(0.5, 0.05), Kumaraswamy(0.3, 0.4), dist.Beta(5.0, 0.5)], ids=str
)
def test_a_mass_codes_shorter_than_its_dequantised_density(base: dist.TorchDistribution) -> None:
    torch.manual_seed(0)
    k = torch.randint(0, 256, (500,)).float()
    x = (k + torch.rand(500, 500)) / 256
    density = base.log_prob(x.clamp(2**-24, 1 - 2**-24)) - math.log(256)
    assert Discretized(base).log_prob(k).mean() > density.mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "levels must be at least 2, got 1"),
        ({"low": 2.0}, r"low must be below high, got low=2\.0 and high=1\.0"),
        ({"edges": "closed"}, "edges must be 'open' or 'bounded', got 'closed'"),
    ],
    ids=["levels", "ends", "edges"],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Discretized(dist.Normal(0.0, 1.0), **options)


def test_a_base_with_an_event_is_refused() -> None:
    mixture = dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)
    )
    with pytest.raises((ValueError, TypeError), match=r"univariate|no interval mass"):
        Discretized(mixture)


def test_a_mixture_of_logistics_recovers_its_parameters() -> None:
    torch.manual_seed(0)
    truth = logistic_mixture(torch.log(parameter(0.3, 0.7)), parameter(0.2, 0.8))
    k = Discretized(truth).sample((4000,))
    logits, loc = torch.zeros(2, requires_grad=True), torch.tensor([0.4, 0.6], requires_grad=True)
    optimiser = torch.optim.Adam([logits, loc], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -Discretized(logistic_mixture(logits, loc)).log_prob(k).mean()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(loc.detach(), parameter(0.2, 0.8), atol=0.01, rtol=0)
    torch.testing.assert_close(logits.softmax(0).detach(), parameter(0.3, 0.7), atol=0.04, rtol=0)
