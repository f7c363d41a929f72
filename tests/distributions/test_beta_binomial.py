"""The beta-binomial against high precision, also where sums of lgamma lose digits."""

import copy
from collections.abc import Callable

import mpmath
import pytest
import torch
from mpmath import mpf

from pyro_vae.distributions import BetaBinomial

SHAPES = [1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4]
LEVELS = [0, 1, 17, 128, 254, 255]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

shapes = pytest.mark.parametrize("a", SHAPES)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def log_mass(k: int, a: mpf, b: mpf) -> mpf:
    with mpmath.workdps(50):
        gammas = [mpmath.loggamma(v) for v in (k + a, 255 - k + b, a + b, 255 + a + b, a, b)]
        beta = gammas[0] + gammas[1] + gammas[2] - gammas[3] - gammas[4] - gammas[5]
        return mpmath.log(mpmath.binomial(255, k)) + beta


@dtypes
@shapes
def test_log_prob_against_high_precision(a: float, dtype: torch.dtype) -> None:
    first, second = torch.tensor(a, dtype=dtype), torch.tensor(SHAPES, dtype=dtype)
    k = torch.tensor(LEVELS, dtype=dtype)[:, None]
    ours = BetaBinomial(first, second, 255).log_prob(k)
    for i, level in enumerate(LEVELS):
        for j in range(len(SHAPES)):
            true = log_mass(level, mpf(first.item()), mpf(second[j].item()))
            # Masses below 1e-30 have the rounding of their logarithm.
            scale = 1 if true > mpmath.log(1e-30) else abs(true)
            assert abs(ours[i, j].item() - true) < TOLERANCE[dtype] * scale


def test_large_shapes_lose_no_digits() -> None:
    a, b, zero = torch.tensor(100.0), torch.tensor(1e4), torch.tensor(0.0)
    true = float(log_mass(0, mpf(100), mpf(10000)))
    assert BetaBinomial(a, b, 255).log_prob(zero).item() == pytest.approx(true, abs=2e-5)


@shapes
def test_masses_sum_to_one_with_finite_gradients(a: float) -> None:
    first = torch.full((256, 7), a, requires_grad=True)
    second = torch.tensor(SHAPES).repeat(256, 1).requires_grad_()
    log_prob = BetaBinomial(first, second, 255).log_prob(torch.arange(256.0)[:, None])
    assert (log_prob.double().exp().sum(0) - 1).abs().max() < 1e-6
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), [first, second]))


@pytest.mark.parametrize(
    "twin_of", [lambda d: d.expand((2,)), copy.deepcopy], ids=["expanded", "copied"]
)
def test_it_expands_and_copies_as_itself(
    twin_of: Callable[[BetaBinomial], BetaBinomial],
) -> None:
    d, k = BetaBinomial(torch.tensor(2.0), torch.tensor(3.0), 255), torch.tensor(9.0)
    twin = twin_of(d)
    assert type(twin) is BetaBinomial
    torch.testing.assert_close(twin.log_prob(k), d.log_prob(k).expand(twin.batch_shape))


def test_double_precision_has_thirteen_digits_at_any_size() -> None:
    sizes = torch.tensor([1e-3, 0.5, 7.9, 8.0, 30.0, 1e3, 1e6], dtype=torch.float64)
    counts = torch.tensor([0.0, 1.0, 7.0, 128.0, 254.0, 255.0], dtype=torch.float64)
    a, b, k = torch.cartesian_prod(sizes, sizes, counts).unbind(-1)
    found = BetaBinomial(a, b, 255).log_prob(k)
    assert len(found) == 294
    for one, first, second, level in zip(found, a, b, k, strict=True):
        true = log_mass(int(level), mpf(float(first)), mpf(float(second)))
        assert abs(float(one) - true) <= 1e-13 * max(1, abs(true))
