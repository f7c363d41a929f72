from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pyro_vae.evaluation import baselines
from pyro_vae.evaluation.baselines import PPCA, fit_ppca, ppca_rows, uniform_bits

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


def test_fewer_rows_than_latents_leave_a_density() -> None:
    fit = fit_ppca(ROWS[:3], 6)
    assert fit is not None
    assert torch.isfinite(fit.log_prob(ROWS)).all()


def test_rows_that_do_not_vary_have_no_fit() -> None:
    assert fit_ppca(torch.ones(5, 3), 1) is None


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
