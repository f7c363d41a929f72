"""The logit-normal distribution against its definition and quadrature in high precision."""

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from mpmath import mpf

from pyro_vae.distributions import LogitNormal

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}

dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


@dtypes
@pytest.mark.parametrize("loc", [-10.0, 0.0, 0.3, 5.0])
@pytest.mark.parametrize("size", [1e-3, 0.1, 0.9, 1.0, 1.1, 3.0, 100.0])
def test_moments_against_high_precision(loc: float, dtype: torch.dtype, size: float) -> None:
    d = LogitNormal(torch.tensor(loc, dtype=dtype), torch.tensor(size, dtype=dtype))
    with mpmath.workdps(25):
        m, s = mpf(d.loc.item()), mpf(d.scale.item())
        points = sorted({m + k * s for k in (-30, -8, -1, 0, 1, 8, 30)} | {mpf(-5), mpf(5)})

        def moment(
            function: Callable[[mpf], mpf], points: list[mpf] = points, m: mpf = m, s: mpf = s
        ) -> mpf:
            def integrand(y: mpf) -> mpf:
                return function(1 / (1 + mpmath.exp(-y))) * mpmath.npdf(y, m, s)

            return mpmath.quad(integrand, points)

        mean = moment(lambda x: x)

        def squared(x: mpf, mean: mpf = mean) -> mpf:
            return (x - mean) ** 2

        variance = moment(squared)
    assert abs(d.mean.item() - mean) < TOLERANCE[dtype]
    assert abs(d.variance.item() - variance) < TOLERANCE[dtype]


def test_the_true_limit_at_the_ends() -> None:
    loc = torch.tensor([0.0, 3.0], requires_grad=True)
    log_prob = LogitNormal(loc, 1.0).log_prob(torch.tensor([0.0, 1.0]))
    assert log_prob.tolist() == [-math.inf, -math.inf]
    (gradient,) = torch.autograd.grad(log_prob.sum(), loc)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("value", [2**-100, 2**-24, 1 - 2**-24])
def test_the_density_next_to_the_ends(value: float) -> None:
    x = torch.tensor(value)
    with mpmath.workdps(40):
        at = mpf(x.item())
        y = mpmath.log(at / (1 - at))
        true = mpmath.log(mpmath.npdf(y, 1, 2)) - mpmath.log(at * (1 - at))
    assert LogitNormal(1.0, 2.0).log_prob(x).item() == pytest.approx(float(true), rel=1e-5)


def test_the_median_halves_the_mass() -> None:
    d = LogitNormal(torch.tensor([-3.0, 0.2, 4.0]), torch.tensor([0.1, 1.0, 10.0]))
    torch.testing.assert_close(d.cdf(d.median), torch.full((3,), 0.5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loc", [-2.0, -0.1, 0.05, 1.0])
@pytest.mark.parametrize("size", [0.3, 1.0, 1.4, 3.0])
def test_the_mode_is_the_global_one(loc: float, size: float) -> None:
    d = LogitNormal(torch.tensor(loc, dtype=torch.float64), torch.tensor(size, dtype=torch.float64))
    y = torch.linspace(-40, 40, 400001, dtype=torch.float64)
    # In the logit, so that modes next to the ends are seen.
    log_density = -0.5 * ((y - loc) / size) ** 2 - y.sigmoid().log() - (-y).sigmoid().log()
    highest = y[log_density.argmax()]
    assert d.mode.logit().item() == pytest.approx(highest.item(), abs=1e-3)
