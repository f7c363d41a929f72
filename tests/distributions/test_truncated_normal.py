"""The truncated normal against high precision in both tails."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf

from pyro_vae.distributions import TruncatedNormal

LOCS = [-5.0, -1.0, -0.01, 0.0, 0.3, 1.0, 1.2, 5.0]
SCALES = [1e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0]
VALUES = [0.0, 2**-24, 1e-3, 0.3, 0.7, 1 - 2**-20, 1.0]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}

locs = pytest.mark.parametrize("loc", LOCS)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def mass(loc: mpf, scale: mpf) -> mpf:
    """Of [0, 1], by the tail on the far side of ``loc``."""
    a, b = -loc / scale / mpmath.sqrt(2), (1 - loc) / scale / mpmath.sqrt(2)
    if a + b < 0:
        a, b = -b, -a
    return (mpmath.erfc(a) - mpmath.erfc(b)) / 2


def log_prob(x: mpf, loc: mpf, scale: mpf) -> mpf:
    return mpmath.log(mpmath.npdf(x, loc, scale)) - mpmath.log(mass(loc, scale))


@dtypes
@locs
def test_log_prob_against_high_precision(loc: float, dtype: torch.dtype) -> None:
    x = torch.tensor(VALUES, dtype=dtype)[:, None]
    scale = torch.tensor(SCALES, dtype=dtype)
    place = torch.tensor(loc, dtype=dtype)
    ours = TruncatedNormal(place, scale).log_prob(x)
    with mpmath.workdps(60):
        for i, j in torch.cartesian_prod(torch.arange(len(VALUES)), torch.arange(len(SCALES))):
            true = log_prob(mpf(x[i].item()), mpf(place.item()), mpf(scale[j].item()))
            assert abs(ours[i, j].item() - true) <= TOLERANCE[dtype] * max(1, abs(true))


@pytest.mark.parametrize("value", [1e-3, 0.7])
@dtypes
@locs
def test_gradients_against_high_precision(loc: float, dtype: torch.dtype, value: float) -> None:
    step = mpf(10) ** -25
    for size in SCALES:
        place = torch.tensor(loc, dtype=dtype, requires_grad=True)
        scale = torch.tensor(size, dtype=dtype, requires_grad=True)
        x = torch.tensor(value, dtype=dtype)
        ours = torch.autograd.grad(TruncatedNormal(place, scale).log_prob(x), [place, scale])
        with mpmath.workdps(60):
            at = (mpf(x.item()), mpf(place.item()), mpf(scale.item()))
            for gradient, move in zip(ours, ((0, step, 0), (0, 0, step)), strict=True):
                ahead = log_prob(*(a + m for a, m in zip(at, move, strict=True)))
                behind = log_prob(*(a - m for a, m in zip(at, move, strict=True)))
                true = (ahead - behind) / (2 * step)
                assert abs(gradient.item() - true) <= 40 * TOLERANCE[dtype] * max(1, abs(true))


@locs
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 100.0])
def test_moments_against_high_precision(loc: float, size: float) -> None:
    d = TruncatedNormal(torch.tensor(loc), torch.tensor(size))
    with mpmath.workdps(60):
        place, scale = mpf(d.loc.item()), mpf(d.scale.item())
        first = mpmath.npdf(0, place, scale) * scale / mass(place, scale)
        last = mpmath.npdf(1, place, scale) * scale / mass(place, scale)
        a, b = -place / scale, (1 - place) / scale
        mean = place + scale * (first - last)
        variance = scale**2 * (1 + a * first - b * last - (first - last) ** 2)
    assert abs(d.mean.item() - mean) < 1e-7
    assert d.variance.item() == pytest.approx(float(variance), rel=2e-6)


def test_a_tail_far_from_the_location_is_exponential() -> None:
    d = TruncatedNormal(torch.tensor(-5.0), torch.tensor(1e-3))
    assert d.mean.item() == pytest.approx(1e-6 / 5, rel=1e-5)
    assert d.icdf(torch.tensor(0.5)).item() == pytest.approx(math.log(2) * 1e-6 / 5, rel=1e-4)


def test_other_ends() -> None:
    d = TruncatedNormal(0.0, 1.0, low=-2.0, high=3.0)
    x = torch.linspace(-2, 3, 5001, dtype=torch.float64)
    assert torch.trapezoid(d.log_prob(x).exp(), x).item() == pytest.approx(1, abs=1e-6)
    assert (d.support.lower_bound, d.support.upper_bound) == (-2, 3)


def test_ends_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low must be below high, got low=1\.0 and high=0\.0"):
        TruncatedNormal(0.0, 1.0, low=1.0, high=0.0)
