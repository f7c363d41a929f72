"""The forecast against closed forms, numpy, and small trained models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import elbo, forecasting, observations

SPECTRUM = (5.0, 3.0, 2.0, 1.0, 0.5, 0.1)
BOUNDED = (0.05, 0.02, 0.01, 0.004, 0.001, 0.0003)


def of_spectrum(eigenvalues: tuple[float, ...], rows: int = 400, seed: int = 0) -> Tensor:
    """Rows (N, D) of mean 1/2 whose covariance has exactly these eigenvalues, in random axes."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((rows, len(eigenvalues)))
    white = np.linalg.qr(raw - raw.mean(0))[0] * rows**0.5
    axes = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))[0]
    return torch.from_numpy(0.5 + white * np.sqrt(eigenvalues) @ axes.T)


# The Gaussian with a fixed variance


@pytest.mark.parametrize(
    ("variance", "beta", "latents", "active"),
    [
        (0.8, 1.0, 20, 4),
        (0.4, 2.0, 20, 4),
        (0.8, 1.0, 3, 3),
        (0.01, 1.0, 20, 6),
        (2.5, 1.0, 20, 2),
        (4.9, 1.0, 20, 1),
        (5.1, 1.0, 20, 0),
        (1.0, 0.0, 20, 6),
    ],
)
def test_directions_above_beta_times_variance_survive(
    variance: float, beta: float, latents: int, active: int
) -> None:
    forecast = forecasting.forecast_gaussian(of_spectrum(SPECTRUM), variance, beta, latents)
    assert forecast.active_units == active
    assert forecast.collapses == (active == 0)
    assert forecast.eigenvalues == pytest.approx(SPECTRUM[:latents])
    assert forecast.threshold == pytest.approx(beta * variance)
    assert forecast.beta_collapse == pytest.approx(5.0 / variance)
    assert forecast.sigma_collapse == (pytest.approx((5.0 / beta) ** 0.5) if beta else None)
    assert not forecast.approximate


@pytest.mark.parametrize(("factor", "collapses"), [(0.999, False), (1.001, True)])
def test_collapse_sets_in_just_there(factor: float, collapses: bool) -> None:
    images = of_spectrum(SPECTRUM)
    edge = forecasting.forecast_gaussian(images, 0.7, 3.0)
    assert edge.sigma_collapse is not None
    by_beta = forecasting.forecast_gaussian(images, 0.7, edge.beta_collapse * factor)
    by_sigma = forecasting.forecast_gaussian(images, (edge.sigma_collapse * factor) ** 2, 3.0)
    assert by_beta.collapses == by_sigma.collapses == collapses


def test_levels_are_taken_at_their_midpoints(few: Tensor) -> None:
    x = (few.flatten(1).double().numpy() + 0.5) / 256
    expected = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    forecast = forecasting.forecast_gaussian(few, 0.5, latent_dim=10)
    np.testing.assert_allclose(forecast.eigenvalues, expected[:10], rtol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "count"),
    [(0.3, 34), (0.5, 23), (1.0, 12), (2.0, 6), (4.0, 1), (5.0, 1), (5.3, 0)],
)
def test_the_digits_have_the_counts_that_others_measured(
    threshold: float, count: int, digits: pv.data.Data
) -> None:
    # Of all 5,000 digits; figures measured before there was a forecast, by another program.
    images = torch.cat([digits.train, digits.test])
    assert forecasting.forecast_gaussian(images, threshold, 1.0, 40).active_units == count


# A variance that is learned


def objective(spectrum: np.ndarray[Any, Any], latents: int, beta: float, v: float) -> float:
    """β KL − reconstruction of the best linear VAE with σ² = v, without constants."""
    t = beta * v
    top, dims = spectrum[:latents], len(spectrum)
    rate = 0.5 * np.log(np.maximum(top / t, 1)).sum()
    errors = np.minimum(top, t).sum() + spectrum[latents:].sum()
    return float(beta * rate + errors / (2 * v) + dims / 2 * np.log(v))


@pytest.mark.parametrize("latents", [1, 3, 5])
@pytest.mark.parametrize("beta", [0.25, 1.0, 1.7, 2.5, 3.5])
def test_a_learned_variance_is_the_best_one(latents: int, beta: float) -> None:
    grid = np.geomspace(0.02, 10, 6_001)
    spectrum = np.array(SPECTRUM)
    best = grid[np.argmin([objective(spectrum, latents, beta, v) for v in grid])]
    forecast = forecasting.forecast_gaussian(of_spectrum(SPECTRUM), None, beta, latents)
    assert forecast.sigma == pytest.approx(best**0.5, rel=2e-3)
    assert forecast.active_units == (spectrum[:latents] > beta * best).sum()
    assert forecast.collapses == (beta > forecast.beta_collapse)


def test_at_beta_1_it_is_the_mean_of_the_discarded_eigenvalues() -> None:
    forecast = forecasting.forecast_gaussian(of_spectrum(SPECTRUM), None, 1.0, 2)
    assert forecast.sigma == pytest.approx(((2 + 1 + 0.5 + 0.1) / 4) ** 0.5)
    assert forecast.beta_collapse == pytest.approx(5.0 * 6 / sum(SPECTRUM))


# The rate–distortion curve


def test_the_curve_is_reverse_water_filling() -> None:
    forecast = forecasting.forecast_gaussian(of_spectrum(SPECTRUM), 0.7, 1.0, 4)
    rates, distortions = map(np.array, zip(*forecast.curve, strict=True))
    assert len(rates) > 10
    assert rates[0] == pytest.approx(0, abs=1e-9)
    assert distortions[0] == pytest.approx(sum(SPECTRUM) / 6)
    assert (np.diff(rates) > 0).all()
    assert (np.diff(distortions) < 0).all()
    top, rest = np.array(SPECTRUM[:4]), sum(SPECTRUM[4:])
    for rate, distortion in forecast.curve:
        # The water level by bisection on the distortion, the rate from that level.
        low, high = 0.0, 5.0
        for _ in range(100):
            level = (low + high) / 2
            filled = (np.minimum(top, level).sum() + rest) / 6
            low, high = (level, high) if filled < distortion else (low, level)
        assert rate == pytest.approx(0.5 * np.log(np.maximum(top / level, 1)).sum(), abs=1e-6)


def test_the_operating_point_by_hand() -> None:
    forecast = forecasting.forecast_gaussian(of_spectrum(SPECTRUM), 1.5, 1.0, 20)
    rate = 0.5 * (np.log(5 / 1.5) + np.log(3 / 1.5) + np.log(2 / 1.5))
    distortion = (3 * 1.5 + 1 + 0.5 + 0.1) / 6
    assert forecast.operating_point == pytest.approx((rate, distortion))
    (row,) = [line for line in str(forecast).splitlines() if line.startswith("  at this β")]
    assert row.split(None, 3)[3].startswith(f"{rate:.1f} nats per image")
    assert f"squared error {distortion:.5f} (pPCA)" in row


def test_the_curve_is_on_the_unit_range_whatever_the_observations(few: Tensor) -> None:
    plain = pv.forecast(few, "normal", scale=0.3)
    head = observations.get("normal", interval=(-1.0, 1.0), scale=0.6)
    wide = pv.forecast(few, head)
    np.testing.assert_allclose(wide.curve, plain.curve, rtol=1e-5)
    assert wide.active_units == plain.active_units
    assert wide.sigma == pytest.approx(0.6)


# Other observations


@pytest.mark.parametrize("scale", [0.3, 1.5])
def test_a_fixed_sigma_needs_no_approximation(few: Tensor, scale: float) -> None:
    forecast = pv.forecast(few, "normal", beta=2.0, scale=scale)
    gaussian = forecasting.forecast_gaussian(few, scale**2, 2.0)
    assert not forecast.approximate
    assert forecast.active_units == gaussian.active_units
    assert forecast.threshold == pytest.approx(gaussian.threshold)
    assert forecast.beta_collapse == pytest.approx(gaussian.beta_collapse)


def test_cross_entropy_by_numpy(few: Tensor) -> None:
    x = few.flatten(1).double().numpy() / 255
    mean = x.mean(0)
    x, mean = x[:, mean * (1 - mean) > 0], mean[mean * (1 - mean) > 0]
    whitened = (x - mean) / np.sqrt(mean * (1 - mean))
    expected = np.linalg.eigvalsh(whitened.T @ whitened / len(x))[::-1]
    forecast = pv.forecast(few, "bernoulli", beta=6.0)
    np.testing.assert_allclose(forecast.eigenvalues, expected[:20], rtol=1e-4)
    assert forecast.active_units == (expected > 6).sum()
    assert forecast.beta_collapse == pytest.approx(expected[0], rel=1e-4)
    assert forecast.approximate
    assert forecast.sigma is forecast.sigma_collapse is None


def test_cross_entropy_on_digits_collapses_above_32(digits: pv.data.Data) -> None:
    # Measured before there was a forecast, by another program.
    images = torch.cat([digits.train, digits.test])
    assert pv.forecast(images, "bernoulli").beta_collapse == pytest.approx(32.0, abs=0.05)


@pytest.mark.parametrize(("beta", "count"), [(8, 9), (16, 4), (28, 1), (36, 0)])
def test_cross_entropy_on_digits_keeps_fewer_latents_the_larger_beta_is(
    beta: float, count: int, digits: pv.data.Data
) -> None:
    images = torch.cat([digits.train, digits.test])  # counts by the same program as the 32 above
    assert pv.forecast(images, "bernoulli", beta=beta).active_units == count


def test_continuous_bernoulli_by_its_variance() -> None:
    # An exponential family in its natural parameter: the precision is 1/Var at the mean.
    x = np.clip(of_spectrum(BOUNDED).numpy() + np.linspace(-0.4, 0.3, 6), 0.01, 0.99)
    mean = x.mean(0)

    def excess(logit: float, mean: float) -> float:
        return float(1 / (1 - np.exp(-logit)) - 1 / logit - mean)

    logits = np.array([brentq(excess, -50.0, 49.0, (m,)) for m in mean])
    variance = 1 / logits**2 - np.exp(-abs(logits)) / np.expm1(-abs(logits)) ** 2
    whitened = (x - mean) / np.sqrt(variance)
    expected = np.linalg.eigvalsh(whitened.T @ whitened / len(x))[::-1]
    forecast = pv.forecast(torch.from_numpy(x), "continuous-bernoulli")
    np.testing.assert_allclose(forecast.eigenvalues, expected, rtol=1e-3)


def test_poisson_by_its_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.poisson(np.exp(rng.standard_normal((500, 1)) * 0.5 + np.arange(4) / 2))
    mean = x.mean(0)
    expected = np.linalg.eigvalsh(np.cov(x.T / np.sqrt(mean)[:, None], bias=True))[::-1]
    head = pv.Head.of(dist.Poisson, rate=pv.Param(link="exp"), levels="counts")
    forecast = pv.forecast(torch.from_numpy(x).float(), head)
    np.testing.assert_allclose(forecast.eigenvalues, expected, rtol=1e-3)


def test_a_sigma_per_pixel_from_the_data_divides_each_pixel_by_it(few: Tensor) -> None:
    x = (few.flatten(1).double().numpy() + 0.5) / 256
    x = x[:, x.std(0) > 0.02]
    correlation = np.linalg.eigvalsh(np.corrcoef(x.T))[::-1]
    bright = torch.from_numpy(x)
    forecast = pv.forecast(bright, "normal", scale=pv.Param("dimension", source="data"))
    np.testing.assert_allclose(forecast.eigenvalues, correlation[:20], rtol=1e-3)
    assert not forecast.approximate
    assert forecast.sigma is None


@pytest.mark.parametrize(
    ("name", "scale", "approximate"),
    [
        ("normal-learned-sigma", "dataset", False),
        ("normal-learned-sigma", "image", True),
        ("normal-learned-sigma", "pixel", True),
        ("normal-learned-sigma", "dimension", True),
        ("normal-optimal-sigma", None, False),
        ("laplace", "dataset", True),
        ("beta", None, True),
    ],
)
def test_a_learned_spread_is_taken_for_one_sigma(
    few: Tensor, name: str, scale: str | None, approximate: bool
) -> None:
    own = forecasting.forecast_gaussian(few, None, 3.0)
    parameters: dict[str, Any] = {} if scale is None else {"scale": scale}
    forecast = pv.forecast(few, name, beta=3.0, **parameters)
    assert forecast.sigma == pytest.approx(own.sigma)
    assert forecast.active_units == own.active_units
    assert forecast.approximate == approximate


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_a_laplace_has_a_curvature_over_a_pixels_spread(scale: float) -> None:
    # Its log-density has a corner: over ±s its score moves by 2/b, so the precision is 1/(b s).
    images = of_spectrum(BOUNDED)
    forecast = pv.forecast(images, "laplace", scale=scale, loc=pv.Param(link="identity"))
    x = images.numpy()
    whitened = (x - x.mean(0)) / np.sqrt(scale * x.std(0))
    expected = np.linalg.eigvalsh(whitened.T @ whitened / len(x))[::-1]
    np.testing.assert_allclose(forecast.eigenvalues, expected, rtol=1e-4)
    assert forecast.approximate


def test_a_discretised_normal_is_a_normal_where_sigma_is_wider_than_a_level(few: Tensor) -> None:
    grey = few // 4 + 96  # its lowest and highest level hold what lies beyond: far from these
    discretised = pv.forecast(grey, "discretized-normal", beta=3.0, scale=0.05)
    normal = pv.forecast(grey, "normal", beta=3.0, scale=0.05)
    assert discretised.beta_collapse == pytest.approx(normal.beta_collapse, rel=0.01)
    assert discretised.active_units == normal.active_units
    learned = pv.forecast(few, "discretized-normal", scale="dataset")
    assert learned.sigma == pytest.approx(forecasting.forecast_gaussian(few).sigma, rel=0.01)


@pytest.mark.parametrize("name", observations.TABLE)
def test_every_observation_has_a_forecast(few: Tensor, name: str) -> None:
    forecast = pv.forecast(few[:60], name, latent_dim=4)
    assert 0 <= forecast.active_units <= 4
    assert forecast.beta_collapse > 0
    assert np.isfinite([forecast.threshold, *forecast.eigenvalues]).all()


def test_random_binary_pixels_have_the_variance_of_their_draws(few: Tensor) -> None:
    # The draws add noise of relative variance 1 to each pixel: the trace is the pixels' number.
    grey = pv.forecast(few, observations.get("bernoulli"), latent_dim=784)
    drawn = pv.forecast(few, observations.get("bernoulli", levels="binary"), latent_dim=784)
    lit = int((few.flatten(1).sum(0) > 0).sum())
    assert sum(drawn.eigenvalues) == pytest.approx(lit, rel=0.02)
    assert sum(grey.eigenvalues) < 0.9 * lit


# Against trained models


@pytest.mark.parametrize(("threshold", "count"), [(0.3, 4), (1.4, 3), (6.0, 0)])
def test_a_linear_vae_keeps_what_is_forecast(threshold: float, count: int) -> None:
    images = of_spectrum(SPECTRUM, 500).float()
    obs = observations.get("normal", scale=threshold**0.5, loc=pv.Param(link="identity"))
    forecast = pv.forecast(images, obs, latent_dim=4)
    vae = pv.VAE((6,), 4, obs, (nn.Linear(6, 8), nn.Linear(4, 6)))
    history = pv.fit(vae, images, epochs=300, batch_size=500, lr=3e-2, lr_schedule="cosine")
    terms = elbo.held_out_terms(vae, images)
    eigenvalues = torch.linalg.eigvalsh(terms.mean.T.cov(correction=0))
    assert forecast.active_units == (eigenvalues > elbo.ACTIVE).sum() == count
    assert forecast.operating_point is not None
    assert float(terms.kl.mean()) == pytest.approx(forecast.operating_point[0], abs=0.2)
    assert [w.startswith("this will collapse") for w in history.warnings] == [True] * (count == 0)


def test_it_names_how_many_directions_are_near_the_threshold() -> None:
    forecast = forecasting.forecast_gaussian(of_spectrum((1.0, 0.9, 0.3)), 0.95)
    assert "2 directions are within 15%" in forecast.explanation
    assert "within" not in forecasting.forecast_gaussian(of_spectrum((1.0, 0.3)), 0.5).explanation
