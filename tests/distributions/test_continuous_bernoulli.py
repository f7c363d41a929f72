"""The continuous Bernoulli against high precision, quadrature and its own samples."""

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from mpmath import mpf
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_vae.distributions import ContinuousBernoulli
from pyro_vae.distributions.continuous_bernoulli import log_norm

mpmath.mp.dps = 60

LARGE = 1.3e-4
"""Two roundings of a float32 near 1000."""

# Statistical tests: seed 0 (conftest), expected to fail once in FAILURE_RATE of all seeds.
FAILURE_RATE = 1e-4

BANDS = {
    "zero": [0.0, 1e-12, 1e-6],
    "flat": list(np.linspace(1e-4, 0.02, 15)),
    "series": list(np.linspace(0.02, 1.5, 60)),
    "middle": list(np.linspace(1.5, 15, 20)),
    "clamp": list(np.linspace(15, 40, 20)),
    "extreme": list(np.geomspace(40, 1000, 20)),
}
VALUES = [0.0, 2**-24, 0.1, 0.3, 0.5, 0.7, 0.9, 1 - 2**-24, 1.0]
DTYPES = [torch.float32, torch.float64]

bands = pytest.mark.parametrize("band", BANDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def logits_of(band: str, dtype: torch.dtype) -> Tensor:
    positive = torch.tensor(BANDS[band], dtype=dtype)
    return torch.cat([positive, -positive])


def values(dtype: torch.dtype) -> Tensor:
    """Values, one a row, so that they broadcast against a vector of logits."""
    return torch.tensor(VALUES, dtype=dtype)[:, None]


# The oracle: plain definitions in 60 digits; logits below 1e-9 by their first Taylor terms.


def log_normalizer(logit: mpf) -> mpf:
    return (
        mpmath.log(mpmath.expm1(logit) / logit) if abs(logit) > 1e-9 else logit / 2 + logit**2 / 24
    )


def true_log_prob(logit: mpf, x: mpf) -> mpf:
    return logit * x - log_normalizer(logit)


def true_mean(logit: mpf) -> mpf:
    return 1 / -mpmath.expm1(-logit) - 1 / logit if abs(logit) > 1e-9 else mpf(0.5) + logit / 12


def true_variance(logit: mpf) -> mpf:
    if abs(logit) < 1e-9:
        return mpf(1) / 12 - logit**2 / 240
    return 1 / logit**2 - 1 / (4 * mpmath.sinh(logit / 2) ** 2)


def true_cdf(logit: mpf, x: mpf) -> mpf:
    return (
        mpmath.expm1(logit * x) / mpmath.expm1(logit)
        if abs(logit) > 1e-9
        else x + logit * x * (x - 1) / 2
    )


def true_icdf(logit: mpf, u: mpf) -> mpf:
    if abs(logit) < 1e-9:
        return u + logit * u * (1 - u) / 2
    return mpmath.log(1 - u + u * mpmath.exp(logit)) / logit


def true_entropy(logit: mpf) -> mpf:
    return log_normalizer(logit) - logit * true_mean(logit)


def true_kl(p: mpf, q: mpf) -> mpf:
    return log_normalizer(q) - log_normalizer(p) - true_mean(p) * (q - p)


def worst(got: Tensor, oracle: Callable[..., mpf], *args: Tensor, relative: bool = False) -> float:
    """Largest error against the oracle, absolute unless relative is asked for."""
    errors = []
    for value, *arguments in zip(
        got.flatten().tolist(),
        *(a.expand(got.shape).flatten().tolist() for a in args),
        strict=True,
    ):
        true = oracle(*(mpf(a) for a in arguments))
        errors.append(float(abs(mpf(value) - true) / (abs(true) if relative else 1)))
    return max(errors)


def grad_of_log_prob(distribution: type, logits: Tensor, value: Tensor) -> Tensor:
    logits = logits.clone().expand(len(value), -1).detach().requires_grad_()
    log_prob = distribution(logits=logits).log_prob(value)
    (grad,) = torch.autograd.grad(log_prob.sum(), logits)
    return grad


@bands
@dtypes
def test_log_prob(band: str, dtype: torch.dtype) -> None:
    logits, x = logits_of(band, dtype), values(dtype)
    flat = band in ("zero", "flat")
    bound = 1e-12 if dtype == torch.float64 else 1e-6 if flat else LARGE
    assert worst(ContinuousBernoulli(logits=logits).log_prob(x), true_log_prob, logits, x) <= bound


def test_log_prob_of_arbitrary_floats() -> None:
    logits, x = 2000 * torch.rand(3000) - 1000, torch.rand(3000) ** 2  # 1 - x rounds
    assert worst(ContinuousBernoulli(logits=logits).log_prob(x), true_log_prob, logits, x) <= LARGE


@bands
@dtypes
def test_gradient_in_logits(band: str, dtype: torch.dtype) -> None:
    logits, x = logits_of(band, dtype), values(dtype)
    bound = 1e-12 if dtype == torch.float64 else 1e-6
    grad = grad_of_log_prob(ContinuousBernoulli, logits, x)
    assert worst(grad, lambda logit, x: x - true_mean(logit), logits, x) <= bound


@bands
@dtypes
def test_gradient_in_the_value_is_the_logit(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype)
    x = values(dtype).expand(-1, len(logits)).clone().requires_grad_()
    ContinuousBernoulli(logits=logits).log_prob(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, logits.expand(x.shape))


@bands
@dtypes
def test_mean(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype)
    bound = 1e-12 if dtype == torch.float64 else 1e-6
    assert worst(ContinuousBernoulli(logits=logits).mean, true_mean, logits) <= bound


@bands
@dtypes
def test_variance(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    d = ContinuousBernoulli(logits=logits)
    assert worst(d.variance, true_variance, logits, relative=True) <= bound
    assert (d.variance > 0).all()
    assert torch.equal(d.stddev, d.variance.sqrt())


@bands
@dtypes
def test_derivative_of_the_mean_is_the_variance(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype).requires_grad_()
    ContinuousBernoulli(logits=logits).mean.sum().backward()
    assert logits.grad is not None
    bound = 1e-11 if dtype == torch.float64 else 2e-5
    assert worst(logits.grad, true_variance, logits.detach(), relative=True) <= bound


@bands
@dtypes
def test_second_derivative_of_log_prob_is_minus_the_variance(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype).requires_grad_()
    log_prob = ContinuousBernoulli(logits=logits).log_prob(torch.tensor(0.3, dtype=dtype))
    (grad,) = torch.autograd.grad(log_prob.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), logits)
    away = logits.detach() != 0  # at exactly 0 the derivative of |logit| is 0, and so is this one
    assert away.any()
    bound = 1e-11 if dtype == torch.float64 else 2e-5
    assert worst(-second[away], true_variance, logits.detach()[away], relative=True) <= bound


@bands
@dtypes
def test_cdf_and_icdf(band: str, dtype: torch.dtype) -> None:
    logits, x = logits_of(band, dtype), values(dtype)
    d = ContinuousBernoulli(logits=logits)
    bound = 1e-12 if dtype == torch.float64 else 1e-6
    assert worst(d.cdf(x), true_cdf, logits, x) <= bound
    assert worst(d.icdf(x), true_icdf, logits, x) <= bound


@bands
@dtypes
def test_entropy(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype)
    bound = 1e-12 if dtype == torch.float64 else 2e-6
    assert worst(ContinuousBernoulli(logits=logits).entropy(), true_entropy, logits) <= bound


@bands
@dtypes
def test_kl(band: str, dtype: torch.dtype) -> None:
    p = logits_of(band, dtype)
    q = torch.tensor([-300, -7, -1, -0.01, 0, 0.3, 7, 300], dtype=dtype)[:, None]
    kl = kl_divergence(ContinuousBernoulli(logits=p), ContinuousBernoulli(logits=q))
    bound = 1e-12 if dtype == torch.float64 else LARGE
    assert kl.shape == (8, len(p))
    assert worst(kl, true_kl, p, q) <= bound


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.04, 0.0, 1e-4, 0.06, 5.0, 200.0])
def test_gradient_of_samples(logit: float) -> None:
    u = torch.tensor([[1e-3], [0.2], [0.5], [0.97]], dtype=torch.float64)
    logits = torch.full((4, 1), logit, dtype=torch.float64, requires_grad=True)
    ContinuousBernoulli(logits=logits).icdf(u).sum().backward()
    assert logits.grad is not None
    # the quantile moves against the mass that moves past it: dx/dl = -(dF/dl) / p
    for grad, (quantile,) in zip(logits.grad.tolist(), u.tolist(), strict=True):
        x = true_icdf(mpf(logit), mpf(quantile))
        slope = mpmath.diff(lambda logit, x=x: true_cdf(logit, x), mpf(logit))
        true = -slope / mpmath.exp(true_log_prob(mpf(logit), x))
        assert grad[0] == pytest.approx(float(true), rel=1e-9)


@dtypes
@pytest.mark.parametrize("name", ["entropy", "kl", "log_norm"])
def test_gradient_at_logit_zero(name: str, dtype: torch.dtype) -> None:
    logits = torch.zeros(2, dtype=dtype, requires_grad=True)
    d, other = ContinuousBernoulli(logits=logits), torch.tensor([-2.0, 2.0], dtype=dtype)
    at: dict[str, Callable[[], Tensor]] = {
        "entropy": d.entropy,
        "kl": lambda: kl_divergence(ContinuousBernoulli(logits=other), d),
        "log_norm": lambda: log_norm(logits),
    }
    (grad,) = torch.autograd.grad(at[name]().sum(), logits)
    true = 0.5 - ContinuousBernoulli(logits=other).mean if name == "kl" else torch.zeros(2)
    torch.testing.assert_close(grad, true.to(dtype), rtol=0, atol=1e-6)


@bands
@dtypes
def test_log_norm_is_that_of_the_paper(band: str, dtype: torch.dtype) -> None:
    logits = logits_of(band, dtype)

    def log_c(logit: mpf) -> mpf:
        return mpmath.log(logit / mpmath.tanh(logit / 2)) if abs(logit) > 1e-9 else mpmath.log(2)

    assert worst(log_norm(logits), log_c, logits) <= (1e-12 if dtype == torch.float64 else 1e-6)


ORACLES: dict[str, Callable[..., mpf]] = {
    "log_prob": true_log_prob,
    "gradient": lambda logit, x: x - true_mean(logit),
    "mean": lambda logit, x: true_mean(logit),
    "variance": lambda logit, x: true_variance(logit),
}


def worst_member(name: str, logits: Tensor, x: Tensor) -> float:
    if name == "gradient":
        got = grad_of_log_prob(ContinuousBernoulli, logits, x)
    elif name == "log_prob":
        got = ContinuousBernoulli(logits=logits).log_prob(x)
    else:
        got = getattr(ContinuousBernoulli(logits=logits), name).expand(len(x), -1)
    return worst(got, ORACLES[name], logits, x, relative=name == "variance")


@pytest.mark.parametrize(
    ("name", "logit", "bound"),
    [
        ("log_prob", 0.006, 1e-6),
        ("log_prob", 16.0, 5e-5),
        ("log_prob", 1000.0, LARGE),
        ("gradient", 0.006, 1e-6),
        ("gradient", 20.0, 1e-6),
        ("mean", 0.006, 1e-6),
        ("mean", 40.0, 1e-6),
        ("variance", 0.5, 1e-5),
        ("variance", 1000.0, 1e-5),
    ],
    ids=str,
)
def test_where_textbook_formulas_cancel_or_are_clamped(
    name: str, logit: float, bound: float
) -> None:
    # ten neighbouring logits, as cancellation errors can vanish by chance at one
    logits, x = logit * (1 + torch.arange(10) / 1000), torch.tensor([[0.0], [0.9], [1.0]])
    assert worst_member(name, logits, x) <= bound


def test_the_variance_beside_logit_zero_is_a_twelfth() -> None:
    logits = torch.linspace(0.0043, 0.0098, 50)
    variance = ContinuousBernoulli(logits=logits).variance
    torch.testing.assert_close(variance, torch.full((50,), 1 / 12), rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [20.0, 40.0, 100.0])
def test_no_mass_is_lost_in_single_precision(logit: float) -> None:
    x = torch.linspace(0, 1, 20_001, dtype=torch.float32).double()
    density = ContinuousBernoulli(logits=torch.tensor(logit)).log_prob(x.float()).double().exp()
    assert torch.trapezoid(density, x) == pytest.approx(1, abs=1e-4)


@dtypes
@pytest.mark.parametrize("logit", [1e4, 1e6, 1e20, 3e38])
def test_huge_logits_stay_finite(logit: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([logit, -logit], dtype=dtype, requires_grad=True)
    d = ContinuousBernoulli(logits=logits)
    x = values(dtype)
    outcomes = [d.log_prob(x), d.mean, d.variance, d.entropy(), d.cdf(x), d.icdf(x), d.mode]
    for outcome in outcomes:
        assert outcome.isfinite().all()
    total = torch.cat([outcome.flatten() for outcome in outcomes]).sum()
    (grad,) = torch.autograd.grad(total, logits)
    assert grad.isfinite().all()
    assert ((d.mean >= 0) & (d.mean <= 1)).all()
    peak = d.log_prob(torch.tensor([1.0, 0.0], dtype=dtype))
    torch.testing.assert_close(peak, logits.detach().abs().log())


@pytest.mark.parametrize("logit", [0.0, 1e-3, 0.1, 1.0, 10.0, 40.0, 1000.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_density_integrates_to_one(logit: float, sign: int) -> None:
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(64))
    panels = torch.linspace(0, 1, 101, dtype=torch.float64)[:-1, None]
    d = ContinuousBernoulli(logits=torch.tensor(sign * logit, dtype=torch.float64))
    density = d.log_prob(panels + (nodes + 1) / 200).exp()
    assert (density * weights / 200).sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("logit", [-1000.0, -5.0, 0.0, 0.03, 3.0, 50.0])
def test_samples_follow_the_distribution(logit: float) -> None:
    d = ContinuousBernoulli(logits=torch.tensor(logit))
    x = d.sample((20_000,))
    assert ((x >= 0) & (x <= 1)).all()
    true = np.vectorize(lambda v: float(true_cdf(mpf(logit), mpf(v))))
    assert scipy.stats.kstest(x.numpy().astype(float), true).pvalue > FAILURE_RATE


def test_published_means() -> None:
    theta = torch.tensor([0.9999, 0.9999999], dtype=torch.float64)
    exact = torch.tensor([0.891525, 0.937958], dtype=torch.float64)
    torch.testing.assert_close(ContinuousBernoulli(probs=theta).mean, exact, rtol=0, atol=1e-6)


@dtypes
def test_mean_is_less_extreme_than_probs(dtype: torch.dtype) -> None:
    probs = torch.cat([torch.linspace(0.001, 0.499, 500), torch.linspace(0.501, 0.999, 500)])
    d = ContinuousBernoulli(probs=probs.to(dtype))
    assert ((d.mean - 0.5).abs() < (d.probs - 0.5).abs()).all()
    assert ((d.mean > 0.5) == (d.probs > 0.5)).all()


def test_black_and_white_are_within_reach() -> None:
    logits = torch.tensor([-512.0, 512.0])
    torch.testing.assert_close(
        ContinuousBernoulli(logits=logits).mean, torch.tensor([1 / 512, 1 - 1 / 512])
    )
