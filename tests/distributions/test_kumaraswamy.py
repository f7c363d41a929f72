"""The Kumaraswamy distribution up to the ends of the unit interval."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf

from pyro_vae.distributions import Kumaraswamy

SHAPES = [0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1e4]
VALUES = [2**-24, (0.5) / 256, 0.3, 0.9, 1 - 2**-8, 1 - 2**-24]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}

shapes = pytest.mark.parametrize("a", SHAPES)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


@pytest.mark.parametrize("b", SHAPES)
@dtypes
@shapes
def test_log_prob_and_cdf_against_high_precision(a: float, dtype: torch.dtype, b: float) -> None:
    d = Kumaraswamy(torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype))
    for value in VALUES:
        x = torch.tensor(value, dtype=dtype)
        with mpmath.workdps(60):
            at, p, q = (mpf(t.item()) for t in (x, d.concentration1, d.concentration0))
            power = (p - 1) * mpmath.log(at) + (q - 1) * mpmath.log(1 - at**p)
            true = mpmath.log(p) + mpmath.log(q) + power
            below = 1 - (1 - at**p) ** q
        assert abs(d.log_prob(x).item() - true) <= TOLERANCE[dtype] * max(1, abs(true))
        assert abs(d.cdf(x).item() - below) <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("a", "b", "at_zero", "at_one"),
    [
        (1.0, 1.0, 0.0, 0.0),
        (0.5, 2.0, math.inf, -math.inf),
        (2.0, 0.5, -math.inf, math.inf),
        (1.0, 3.0, math.log(3), -math.inf),
        (3.0, 1.0, -math.inf, math.log(3)),
    ],
)
def test_log_prob_at_the_ends(a: float, b: float, at_zero: float, at_one: float) -> None:
    log_prob = Kumaraswamy(a, b).log_prob(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(log_prob, torch.tensor([at_zero, at_one]))


@pytest.mark.parametrize("b", SHAPES)
@shapes
def test_moments_against_the_beta_function(a: float, b: float) -> None:
    d = Kumaraswamy(torch.tensor(a), torch.tensor(b))
    with mpmath.workdps(60):
        p, q = mpf(d.concentration1.item()), mpf(d.concentration0.item())
        mean, square = (q * mpmath.beta(1 + n / p, q) for n in (mpf(1), mpf(2)))
    assert abs(d.mean.item() - mean) < 4e-7
    assert abs(d.variance.item() - (square - mean**2)) < 4e-7


@pytest.mark.parametrize(
    ("a", "b", "mode"), [(0.5, 2.0, 0.0), (2.0, 0.5, 1.0), (2.0, 1.0, 1.0), (0.5, 0.5, math.nan)]
)
def test_a_mode_at_an_end(a: float, b: float, mode: float) -> None:
    torch.testing.assert_close(Kumaraswamy(a, b).mode, torch.tensor(mode), equal_nan=True)
