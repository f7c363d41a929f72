"""The binomial and the categorical over levels, against scipy and mpmath."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from scipy import stats

from pyro_vae.distributions import LevelBinomial, LevelCategorical

LOGITS = (-60.0, -12.0, -3.0, -0.3, 0.0, 0.01, 2.0, 9.0, 40.0)
K = torch.arange(256.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("logit", LOGITS)
def test_the_binomial_against_mpmath(logit: float, dtype: torch.dtype, tolerance: float) -> None:
    mp.dps = 40
    p = 1 / (1 + mp.e ** (-mpf(logit)))
    log_mass = [
        mp.log(mp.binomial(255, k)) + k * mp.log(p) + (255 - k) * mp.log(1 - p) for k in range(256)
    ]
    expected = np.array([float(value) for value in log_mass])
    found = LevelBinomial(torch.tensor(logit, dtype=dtype)).log_prob(K).double().numpy()
    above = expected > np.log(1e-30)
    assert above.any()
    assert np.abs(found - expected)[above].max() < tolerance
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("levels", [2, 256, 65536])
@pytest.mark.parametrize("logit", [-800.0, -30.0, -0.01, 0.4, 9.0, 30.0])
def test_the_binomial_has_thirteen_digits_at_any_size(logit: float, levels: int) -> None:
    mp.dps = 40
    n, logits = levels - 1, torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        found = LevelBinomial(logits, levels).log_prob(torch.tensor(float(k)).double())
        choices = mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)
        true = choices + k * mpf(logit) - n * mp.log1p(mp.exp(mpf(logit)))
        assert abs(mpf(found.item()) - true) <= 1e-13 * max(1, abs(true))
        slope = k - n / (1 + mp.exp(-mpf(logit)))
        (gradient,) = torch.autograd.grad(found, logits)
        assert abs(mpf(gradient.item()) - slope) <= 1e-12 * max(1, abs(slope))


def test_moments_of_the_binomial_against_scipy() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    d, reference = LevelBinomial(logits), stats.binom(255, torch.sigmoid(logits).numpy())
    np.testing.assert_allclose(d.mean, reference.mean(), rtol=1e-12)
    np.testing.assert_allclose(d.variance[:-1], reference.var()[:-1], rtol=1e-6)
    assert (d.mode[2:-2] - d.mean[2:-2]).abs().max() <= 1


def test_the_categorical_is_torchs_and_has_moments() -> None:
    logits = (3 * torch.randn(4, 5, 256, dtype=torch.float64)).requires_grad_(True)
    value = torch.randint(256, (7, 4, 5)).double()
    d, reference = LevelCategorical(logits), torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(d.log_prob(value), reference.log_prob(value))
    gradient = torch.autograd.grad(d.log_prob(value).sum(), logits)[0]
    expected = torch.autograd.grad(reference.log_prob(value).sum(), logits)[0]
    torch.testing.assert_close(gradient, expected)
    k = np.arange(256)
    masses = reference.probs.detach().numpy()
    np.testing.assert_allclose(d.mean.detach(), masses @ k, rtol=1e-10)
    variance = masses @ k**2 - (masses @ k) ** 2
    np.testing.assert_allclose(d.variance.detach(), variance, rtol=1e-9)


def test_a_constant_categorical_takes_many_images() -> None:
    logits = torch.randn(3, 256, requires_grad=True)
    value = torch.randint(256, (50, 3)).float()
    log_prob = LevelCategorical(logits).log_prob(value)
    expected = torch.distributions.Categorical(logits=logits.expand(50, 3, 256)).log_prob(value)
    torch.testing.assert_close(log_prob, expected)


@pytest.mark.parametrize("make", [lambda: LevelBinomial(torch.zeros(2), 1)], ids=["binomial"])
def test_fewer_than_two_levels_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="at least 2 levels"):
        make()  # type: ignore[operator]
    with pytest.raises(ValueError, match="at least 2 levels"):
        LevelCategorical(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="support"):
        LevelBinomial(torch.zeros(2)).log_prob(torch.tensor(256.0))
