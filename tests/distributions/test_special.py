"""Special functions against high precision."""

import mpmath
import pytest
import torch
from mpmath import mpf

from pyro_vae.distributions import special

SHAPES = [1e-3, 0.3, 1.0, 3.9, 4.1, 7.9, 8.1, 100.0, 1e4]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 2e-13}

dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


@dtypes
@pytest.mark.parametrize("a", SHAPES)
def test_log_beta(a: float, dtype: torch.dtype) -> None:
    first, second = torch.tensor(a, dtype=dtype), torch.tensor(SHAPES, dtype=dtype)
    ours = special.log_beta(first, second)
    with mpmath.workdps(40):
        for value, b in zip(ours, second, strict=True):
            x, y = mpf(first.item()), mpf(b.item())
            true = mpmath.loggamma(x) + mpmath.loggamma(y) - mpmath.loggamma(x + y)
            assert abs(value.item() - true) < TOLERANCE[dtype] * max(1, abs(true))


@dtypes
@pytest.mark.parametrize(
    ("a", "b", "value"), [(1e4, 1e4, 0.503), (1e3, 1e4, 0.0911), (0.3, 50.0, 0.01), (5.0, 3.0, 0.9)]
)
def test_log_beta_power_keeps_its_digits_next_to_the_mean(
    dtype: torch.dtype, a: float, b: float, value: float
) -> None:
    x = torch.tensor(value, dtype=dtype)
    ours = special.log_beta_power(
        torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype), x
    ).item()
    with mpmath.workdps(40):
        p, q = (mpf(torch.tensor(v, dtype=dtype).item()) for v in (a, b))
        at = mpf(x.item())
        beta = mpmath.loggamma(p) + mpmath.loggamma(q) - mpmath.loggamma(p + q)
        true = p * mpmath.log(at) + q * mpmath.log(1 - at) - beta
    assert abs(ours - true) < (5e-5 if dtype == torch.float32 else 1e-12)


@dtypes
def test_log_mills_and_its_derivative(dtype: torch.dtype) -> None:
    z = torch.tensor([0.0, 1.0, 9.9, 10.1, 49.0, 51.0, 1e4], dtype=dtype, requires_grad=True)
    ours = special.log_mills(z)
    (slope,) = torch.autograd.grad(ours.sum(), z)
    with mpmath.workdps(60):
        for at, value, gradient in zip(z, ours, slope, strict=True):
            x = mpf(at.item())
            ratio = mpmath.erfc(x / mpmath.sqrt(2)) / 2 / mpmath.npdf(x)
            assert abs(value.item() - mpmath.log(ratio)) < TOLERANCE[dtype]
            true = x - 1 / ratio
            assert abs(gradient.item() - true) < 20 * TOLERANCE[dtype]


@dtypes
def test_log1mexp(dtype: torch.dtype) -> None:
    x = torch.tensor([1e-30, 1e-6, 0.69, 0.7, 20.0, 80.0], dtype=dtype)
    with mpmath.workdps(60):
        for at, value in zip(x, special.log1mexp(x), strict=True):
            true = mpmath.log(-mpmath.expm1(-mpf(at.item())))
            assert abs(value.item() - true) < TOLERANCE[dtype] * abs(true)
