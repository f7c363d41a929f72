"""Masses of the 256 bins against high precision: one table of cases, one line each."""

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from mpmath import mpf

from pyro_vae.distributions import (
    ContinuousBernoulli,
    Discretized,
    Kumaraswamy,
    LogitNormal,
    TruncatedNormal,
    interval_mass,
    log_interval_mass,
    register_interval_mass,
)

LOCS = (-100, -5, 0, 0.1, 0.5, 0.9973, 1, 6)
SCALES = (1e-3, 0.004, 0.03, 0.3, 1, 10, 100)
SHAPES = (1e-3, 0.05, 0.5, 1, 2, 10, 100, 1e3)
LEVELS = (0, 1, 2, 25, 128, 200, 254, 255)
CHECKED_ABOVE = mpf("1e-30")

Mass = Callable[..., mpf]


def by_cdf(cdf: Callable[..., mpf], survival: Callable[..., mpf]) -> Mass:
    """The bin's mass from the smaller tail, the outermost bins open."""

    def mass(k: int, *parameters: mpf) -> mpf:
        if k == 0:
            return cdf(mpf(1) / 256, *parameters)
        if k == 255:
            return survival(mpf(255) / 256, *parameters)
        lo, hi = mpf(k) / 256, mpf(k + 1) / 256
        if cdf(hi, *parameters) < 0.5:
            return cdf(hi, *parameters) - cdf(lo, *parameters)
        return survival(lo, *parameters) - survival(hi, *parameters)

    return mass


def ndtr(z: mpf) -> mpf:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def logit(x: mpf) -> mpf:
    return mpmath.log(x / (1 - x))


def laplace_cdf(x: mpf, loc: mpf, scale: mpf) -> mpf:
    z = (x - loc) / scale
    return mpmath.exp(z) / 2 if z < 0 else 1 - mpmath.exp(-z) / 2


def truncated_mass(k: int, loc: mpf, scale: mpf) -> mpf:
    def between(lo: mpf, hi: mpf) -> mpf:
        a, b = (lo - loc) / scale, (hi - loc) / scale
        return ndtr(b) - ndtr(a) if a + b < 0 else ndtr(-a) - ndtr(-b)

    return between(mpf(k) / 256, mpf(k + 1) / 256) / between(mpf(0), mpf(1))


def kumaraswamy_mass(k: int, a: mpf, b: mpf) -> mpf:
    return (1 - (mpf(k) / 256) ** a) ** b - (1 - (mpf(k + 1) / 256) ** a) ** b


def continuous_bernoulli_mass(k: int, logits: mpf) -> mpf:
    if logits == 0:
        return mpf(1) / 256
    rise = mpmath.expm1(logits / 256) / mpmath.expm1(logits)
    return mpmath.exp(logits * k / 256) * rise


@cache
def beta_mass(k: int, a: mpf, b: mpf) -> mpf:
    if k > 127:
        return beta_mass(255 - k, b, a)
    beta = mpmath.exp(mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b))
    if k == 0:
        x, n, term, total = mpf(1) / 256, 0, mpf(1), mpf(1)
        while term > total * mpf(10) ** -30:
            term *= (a + b + n) * x / (a + 1 + n)
            total, n = total + term, n + 1
        return x**a * (1 - x) ** b / a * total / beta
    with mpmath.workdps(25):
        points = [mpf(k) / 256, mpf(2 * k + 1) / 512, mpf(k + 1) / 256]
        return mpmath.quad(lambda x: x ** (a - 1) * (1 - x) ** (b - 1), points) / beta


CASES: dict[str, tuple[Callable[..., Any], Mass, list[tuple[float, ...]]]] = {
    "normal": (
        dist.Normal,
        by_cdf(lambda x, m, s: ndtr((x - m) / s), lambda x, m, s: ndtr((m - x) / s)),
        list(product(LOCS, SCALES)),
    ),
    "truncated-normal": (
        TruncatedNormal,
        truncated_mass,
        list(product((-5, -0.1, 0, 0.1, 0.5, 0.9973, 1, 5), SCALES)),
    ),
    "logistic": (
        dist.Logistic,
        by_cdf(
            lambda x, m, s: 1 / (1 + mpmath.exp((m - x) / s)),
            lambda x, m, s: 1 / (1 + mpmath.exp((x - m) / s)),
        ),
        list(product(LOCS, SCALES)),
    ),
    "laplace": (
        dist.Laplace,
        by_cdf(laplace_cdf, lambda x, m, s: laplace_cdf(-x, -m, s)),
        list(product(LOCS, SCALES)),
    ),
    "kumaraswamy": (Kumaraswamy, kumaraswamy_mass, list(product(SHAPES, SHAPES))),
    "logit-normal": (
        LogitNormal,
        by_cdf(lambda x, m, s: ndtr((logit(x) - m) / s), lambda x, m, s: ndtr((m - logit(x)) / s)),
        list(product((-10, -5, 0, 0.1, 3, 8), (0.3, 1, 10, 100))),
    ),
    "continuous-bernoulli": (
        lambda logits: ContinuousBernoulli(logits=logits),
        continuous_bernoulli_mass,
        [(v,) for v in (-1e4, -100, -16, -1, -1e-3, 0, 1e-6, 0.3, 0.7, 5, 40, 1e3)],
    ),
    "beta": (dist.Beta, beta_mass, list(product(SHAPES, SHAPES))),
}
TOLERANCE = {torch.float32: 3e-5, torch.float64: 3e-10}
"""Of a mass, relative: logarithms up to 70 round to 60 ulps, some thrice."""
TOTAL = {torch.float32: 3e-6, torch.float64: 1e-13}

cases = pytest.mark.parametrize("name", CASES)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def parameters(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
    columns = zip(*CASES[name][2], strict=True)
    return [torch.tensor([float(v) for v in column], dtype=dtype) for column in columns]


def levels(dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(256, dtype=dtype)[:, None]


def worth_checking(name: str, dtype: torch.dtype) -> Iterator[tuple[int, int, mpf]]:
    """Level, case and true mass where this is large enough to ask for digits."""
    rows = zip(*parameters(name, dtype), strict=True)
    for case, values in enumerate(rows):
        exact = [mpf(v.item()) for v in values]
        for k in LEVELS:
            true = CASES[name][1](k, *exact)
            if true > CHECKED_ABOVE:
                yield k, case, true


@dtypes
@cases
def test_masses_against_high_precision(name: str, dtype: torch.dtype) -> None:
    family = CASES[name][0]
    log_mass = Discretized(family(*parameters(name, dtype))).log_prob(levels(dtype))
    checked = 0
    with mpmath.workdps(50):
        for k, case, true in worth_checking(name, dtype):
            ratio = mpmath.exp(mpf(log_mass[k, case].item())) / true
            assert abs(ratio - 1) < TOLERANCE[dtype], (k, CASES[name][2][case])
            checked += 1
    assert checked > 3 * len(CASES[name][2])


@dtypes
@cases
def test_masses_sum_to_one(name: str, dtype: torch.dtype) -> None:
    log_mass = Discretized(CASES[name][0](*parameters(name, dtype))).log_prob(levels(dtype))
    total = log_mass.double().exp().sum(0)
    assert (total - 1).abs().max() < TOTAL[dtype]


@dtypes
def test_all_masses_of_a_beta_at_once_against_high_precision(dtype: torch.dtype) -> None:
    log_mass = interval_mass.beta_log_masses(dist.Beta(*parameters("beta", dtype)), 256)
    assert log_mass.isfinite().all()
    assert log_mass.dtype == dtype
    checked = 0
    with mpmath.workdps(50):
        for k, case, true in worth_checking("beta", dtype):
            ratio = mpmath.exp(mpf(log_mass[k, case].item())) / true
            assert abs(ratio - 1) < TOLERANCE[dtype], (k, CASES["beta"][2][case])
            checked += 1
    assert checked > 3 * len(CASES["beta"][2])


@dtypes
@pytest.mark.parametrize(("a", "b"), [(1000.0, 1000.0), (1000.0, 1e-3), (300.0, 2.0)])
def test_steep_masses_of_a_beta_keep_their_digits(a: float, b: float, dtype: torch.dtype) -> None:
    k = torch.tensor([1, 2, 5, 20, 80], dtype=dtype)
    d = Discretized(dist.Beta(torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)))
    mirrored = Discretized(dist.Beta(torch.tensor(b, dtype=dtype), torch.tensor(a, dtype=dtype)))
    log_mass, other = d.log_prob(k).tolist(), mirrored.log_prob(255 - k).tolist()
    with mpmath.workdps(60):
        p, q = mpf(d.base_dist.concentration1.item()), mpf(d.base_dist.concentration0.item())
        whole = mpmath.loggamma(p) + mpmath.loggamma(q) - mpmath.loggamma(p + q)
        for level, found, turned in zip(k.tolist(), log_mass, other, strict=True):
            ends = [mpf(level) / 256, mpf(level + 1) / 256]
            # A hypergeometric series, which loses no digits to a difference of two cdfs.
            below, up_to = (
                x**p * (1 - x) ** q / p * mpmath.hyp2f1(p + q, 1, p + 1, x) for x in ends
            )
            true = float(mpmath.log(up_to - below) - whole)
            relative = 1e-6 if dtype == torch.float32 else 1e-11
            assert found == pytest.approx(true, rel=relative)
            assert turned == pytest.approx(true, rel=relative)


def test_moments_of_a_beta_have_the_gradients_of_a_difference() -> None:
    shapes = torch.tensor([[0.3, 2.0, 30.0], [0.7, 5.0, 9.0]], dtype=torch.float64)

    def moments(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        d = Discretized(dist.Beta(a, b))
        return d.mean, d.entropy()

    values = [row.clone().requires_grad_() for row in shapes]
    assert torch.autograd.gradcheck(moments, values, eps=1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("levels", [16, 64, 300])
def test_masses_of_a_beta_at_once_are_differences_of_its_cdf(levels: int) -> None:
    a, b = [0.3, 20.0], [0.5, 7.0]
    d = Discretized(dist.Beta(torch.tensor(a), torch.tensor(b)), levels)
    edges = np.arange(levels + 1)[:, None] / levels
    expected = np.diff(scipy.stats.beta(a, b).cdf(edges), axis=0)
    np.testing.assert_allclose(d._log_masses().exp(), expected, atol=1e-6)
    np.testing.assert_allclose(d.mean, np.arange(levels) @ expected, rtol=1e-5)


@cases
def test_every_level_has_a_finite_log_mass_and_gradient(name: str) -> None:
    values = [p.repeat(256, 1).requires_grad_() for p in parameters(name, torch.float32)]
    log_mass = Discretized(CASES[name][0](*values)).log_prob(levels(torch.float32))
    assert log_mass.isfinite().all()
    for gradient in torch.autograd.grad(log_mass.sum(), values):
        assert gradient.isfinite().all()


@cases
def test_gradients_are_those_of_a_difference(name: str) -> None:
    family, _, table = CASES[name]
    moderate = [row for row in table if all(abs(v) < 20 for v in row) and row[-1] >= 0.03]
    values = [
        torch.tensor(c, dtype=torch.float64, requires_grad=True)
        for c in zip(*moderate, strict=True)
    ]
    k = torch.tensor([0.0, 100.0, 255.0], dtype=torch.float64)[:, None]

    def log_mass(*at: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = Discretized(family(*at)).log_prob(k)
        return result

    assert torch.autograd.gradcheck(log_mass, values, eps=1e-6, atol=1e-4, rtol=1e-4)


def test_a_mixture_adds_its_components() -> None:
    logits, loc = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0.1, 0.5, 0.9])
    scale = torch.tensor([0.01, 0.3, 0.05])
    mixture = dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Logistic(loc, scale))
    k = levels(torch.float32)
    parts = Discretized(dist.Logistic(loc, scale)).log_prob(k).exp()
    expected = (parts * logits.softmax(0)).sum(-1)
    torch.testing.assert_close(Discretized(mixture).log_prob(k[:, 0]).exp(), expected)


def test_a_beta_has_all_its_mass_on_the_unit_interval() -> None:
    ends = torch.tensor(0.0), torch.tensor(1.0)
    assert log_interval_mass(dist.Beta(torch.tensor(0.3), 4.0), *ends).item() == 0


def test_a_family_can_be_added_and_an_unknown_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interval_mass, "_FAMILIES", dict(interval_mass._FAMILIES))

    class Ramp(dist.Uniform):  # type: ignore[misc]
        pass

    message = "no interval mass for Ramp: registered are Beta, ContinuousBernoulli, Kumaraswamy"
    with pytest.raises(TypeError, match=message):
        Discretized(Ramp(0.0, 1.0))

    @register_interval_mass(Ramp)
    def _ramp(base: Ramp, lo: torch.Tensor, hi: torch.Tensor) -> torch.Tensor:
        return (hi.clamp(max=1.0) - lo.clamp(min=0.0)).log()

    mass = Discretized(Ramp(0.0, 1.0)).log_prob(torch.tensor([0.0, 100.0, 255.0]))
    torch.testing.assert_close(mass, torch.full((3,), -math.log(256)))
