from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pyro_vae import observations
from pyro_vae.elbo import best_constants
from pyro_vae.metrics import baselines
from pyro_vae.metrics.baselines import PPCA, fit_ppca, ppca_rows, uniform_bits

from .models import Linear, constant_vae

MODEL = Linear.random(8, 3, 0.3)
ROWS = MODEL.draw(400, (8,))


def _covariance(fit: PPCA) -> np.ndarray:
    directions = fit.directions.numpy()
    inside = directions @ np.diag(fit.eigenvalues.numpy() - fit.variance) @ directions.T
    return np.asarray(inside + fit.variance * np.eye(len(directions)))


def _fit(latents: int) -> PPCA:
    fit = fit_ppca(ROWS, latents)
    assert fit is not None
    return fit


@pytest.mark.parametrize("latents", [1, 3, 7, 20])
def test_its_density_is_that_of_its_covariance(latents: int) -> None:
    fit = _fit(latents)
    expected = multivariate_normal(fit.mean.numpy(), _covariance(fit)).logpdf(ROWS.numpy())
    np.testing.assert_allclose(fit.log_prob(ROWS), expected, rtol=1e-6)


def test_no_change_of_the_fit_is_likelier() -> None:
    fit = _fit(3)
    best = float(fit.log_prob(ROWS).mean())
    turned, _ = torch.linalg.qr(fit.directions + 0.05 * torch.randn(8, 3, dtype=torch.float64))
    others = [
        fit._replace(variance=fit.variance * 1.05),
        fit._replace(variance=fit.variance * 0.95),
        fit._replace(eigenvalues=fit.eigenvalues * 1.05),
        fit._replace(mean=fit.mean + 0.01),
        fit._replace(directions=turned),
    ]
    assert all(float(other.log_prob(ROWS).mean()) < best for other in others)


def test_on_its_own_model_it_reaches_the_evidence() -> None:
    held_out = MODEL.draw(2000, (8,), seed=1)
    true = MODEL.log_evidence(held_out.numpy()).mean()
    # 8 + 8·3 + 1 parameters from 400 rows cost half a nat per row for every 400 of them.
    assert float(_fit(3).log_prob(held_out).mean()) == pytest.approx(true, abs=0.1)


def test_wide_rows_go_by_a_randomised_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = _fit(3)
    monkeypatch.setattr(baselines, "WIDE", 4)
    wide = _fit(3)
    assert torch.allclose(wide.eigenvalues, exact.eigenvalues)
    assert torch.allclose(wide.log_prob(ROWS), exact.log_prob(ROWS))


@pytest.mark.parametrize("dims", [2, 3, 5, 13])
def test_it_is_the_fit_of_the_whole_covariance(dims: int) -> None:
    generator = np.random.default_rng(dims)
    rows = generator.normal(size=(50, dims)) @ generator.normal(size=(dims, dims))
    rows = 7 + rows * np.logspace(-1, 1, dims)
    given = torch.tensor(rows)
    fit = fit_ppca(given, 2)
    assert fit is not None
    assert np.array_equal(given.numpy(), rows)
    latents = min(2, dims - 1)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    values[:-latents] = values[:-latents].mean()
    expected = multivariate_normal(rows.mean(0), vectors * values @ vectors.T)
    np.testing.assert_allclose(fit.eigenvalues, values[: -latents - 1 : -1], rtol=1e-9)
    np.testing.assert_allclose(fit.log_prob(given), expected.logpdf(rows), rtol=1e-6)


def test_fewer_rows_than_latents_leave_a_density() -> None:
    fit = fit_ppca(ROWS[:3], 6)
    assert fit is not None
    assert torch.isfinite(fit.log_prob(ROWS)).all()


def test_rows_that_do_not_vary_have_no_fit() -> None:
    assert fit_ppca(torch.ones(5, 3), 1) is None


def _of_normal(x: np.ndarray) -> float:
    """The likeliest mean of each column, and one variance."""
    return -x.shape[1] / 2 * (math.log(2 * math.pi * x.var(0).mean()) + 1)


def _of_normal_by_column(x: np.ndarray) -> float:
    return -float(np.log(2 * math.pi * x.var(0)).sum() + x.shape[1]) / 2


def _of_laplace(x: np.ndarray) -> float:
    """The median of each column, and one scale."""
    distance = np.abs(x - np.median(x, 0)).mean()
    return -x.shape[1] * (math.log(2 * distance) + 1)


@pytest.mark.parametrize(
    ("name", "scope", "expected"),
    [
        ("normal-learned-sigma", "dataset", _of_normal),
        ("normal-learned-sigma", "dimension", _of_normal_by_column),
        ("laplace", "dataset", _of_laplace),
    ],
)
def test_a_constant_prediction_is_the_likeliest(
    name: str, scope: str, expected: Callable[[np.ndarray], float]
) -> None:
    x = 0.5 + 0.1 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    x = (x * torch.tensor([1.0, 0.5, 0.2])).clamp(0, 1)
    (found,) = best_constants(constant_vae((3,), observations.get(name, scale=scope)), x).values()
    assert found.reconstruction == pytest.approx(expected(x.double().numpy()), abs=2e-3)


@pytest.mark.parametrize(
    ("levels", "kind", "bits"),
    [
        ("dequantised", "density", 8.0),
        ("levels", "mass", 8.0),
        ("binary", "mass", 1.0),
        ("grey", "mass", 1.0),
        ("counts", "mass", None),
        ("real", "density", None),
    ],
)
def test_uniform(levels: str, kind: str, bits: float | None) -> None:
    assert uniform_bits(levels, kind) == bits


def test_rows_are_in_the_observations_unit() -> None:
    images = torch.randint(0, 256, (300, 5), dtype=torch.uint8)
    density = ppca_rows(constant_vae((5,), "normal"), images, "density")
    mass = ppca_rows(constant_vae((5,), "binomial"), images, "mass")
    assert torch.equal((density * 256).floor(), images.float())
    assert torch.equal(mass.floor(), images.float())
    assert torch.equal(mass, ppca_rows(constant_vae((5,), "binomial"), images, "mass"))
