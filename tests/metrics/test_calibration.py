from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from pyro_vae import Head, Param
from pyro_vae.metrics.calibration import calibration_scores
from pyro_vae.metrics.encodings import encoded, univariate
from pyro_vae.metrics.pit import Predicted, predicted

from ..zoo import CASES
from .models import Linear, constant_vae

FAILURE = 1e-4
"""Rate at which each goodness-of-fit test fails by chance, over seeds."""

SHAPE = (1, 5, 5)
DISTRIBUTIONS = [name for name in CASES if name not in ("bernoulli", "normal-from-data")]


def _found(vae: object, x: Tensor | None = None, n: int = 400) -> Predicted:
    p = vae.decode(torch.zeros(n, 1))  # type: ignore[attr-defined]
    shape = vae.data_shape  # type: ignore[attr-defined]
    x = p.sample() if x is None else x
    with torch.no_grad():
        return predicted(p, univariate(p, shape), x)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distributions_own_samples_are_uniform(name: str) -> None:
    head = CASES[name]()
    torch.manual_seed(1)
    # Not so steep that float32 rounds samples to 0 or 1.
    raw = 0.3 * torch.randn(head.build(SHAPE).numbers)
    found = _found(constant_vae(SHAPE, head, raw))
    assert found.integral.shape == (400, *SHAPE)
    assert kstest(found.integral.flatten(), "uniform").pvalue > FAILURE


def test_numbers_of_a_site_with_an_event_of_its_own_are_ranked_one_by_one() -> None:
    tril = Param(shape=(3, 3))
    head = Head.of(dist.MultivariateNormal, loc=Param(shape=(3,), link="identity"), scale_tril=tril)
    found = _found(constant_vae((3,), head, 0.3))
    assert kstest(found.integral.flatten(), "uniform").pvalue > FAILURE


def test_integrals_are_the_cdf() -> None:
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=0.25)
    x = torch.rand(400, *SHAPE)
    found = _found(constant_vae(SHAPE, head, 0.5), x)
    np.testing.assert_allclose(found.integral, norm(0.5, 0.25).cdf(x.double()), atol=1e-7)
    assert found.mean is not None
    assert found.sigma is not None
    assert torch.allclose(found.sigma, torch.tensor(0.25, dtype=torch.float64))


def test_masses_moments_are_those_of_their_levels() -> None:
    vae = constant_vae(SHAPE, "discretized-logistic", 0.4)
    p = vae.decode(torch.zeros(400, 1))
    found = _found(vae)
    assert found.mean is not None
    assert found.sigma is not None
    assert torch.allclose(found.mean, p.mean.double(), rtol=1e-5)
    assert torch.allclose(found.sigma, p.variance.sqrt().double(), rtol=1e-4)


@pytest.fixture(scope="module")
def exact() -> dict[str, object]:
    """Calibration of a model with the exact posterior on data of its own."""
    model = Linear.random(64, 3, 0.1, centre=0.5)
    shape = (1, 8, 8)
    vae = model.vae(shape)
    with torch.no_grad():
        scores = calibration_scores(vae, encoded(vae, model.draw(250, shape)))
    return scores


PIXELS = 250 * 64


def test_data_of_the_model_are_calibrated(exact: dict[str, object]) -> None:
    # Kolmogorov's distance exceeds 2.23 / √n once in 10,000.
    assert exact["pit_distance"] < 2.23 / math.sqrt(PIXELS)  # type: ignore[operator]
    for probability, found in exact["coverage"]:  # type: ignore[attr-defined]
        error = math.sqrt(probability * (1 - probability) / PIXELS)
        assert found == pytest.approx(probability, abs=4 * error)
    assert sum(exact["pit"]) == pytest.approx(1)  # type: ignore[call-overload]


def test_its_residuals_are_independent(exact: dict[str, object]) -> None:
    near = exact["neighbours"]
    pairs = 250 * 8 * 7
    assert near["beside"] == pytest.approx(0, abs=4 / math.sqrt(pairs))  # type: ignore[index]
    assert near["below"] == pytest.approx(0, abs=4 / math.sqrt(pairs))  # type: ignore[index]
    middle = np.array(near["map"])  # type: ignore[index]
    assert middle[3, 3] == pytest.approx(1)
    np.testing.assert_allclose(middle, middle[::-1, ::-1], atol=1e-12)


def test_its_sigma_is_its_error(exact: dict[str, object]) -> None:
    sigma = exact["sigma"]
    assert sigma["predicted"] == pytest.approx(0.1)  # type: ignore[index]
    assert sigma["actual"] == pytest.approx(0.1, rel=4 / math.sqrt(2 * PIXELS))  # type: ignore[index]
    assert sigma["image_correlation"] is None  # type: ignore[index]


def _independent(x: Tensor, head: Head, raw: float | Tensor) -> dict[str, object]:
    vae = constant_vae(tuple(x.shape[1:]), head, raw)
    with torch.no_grad():
        return calibration_scores(vae, encoded(vae, x))


NORMAL = Head.of(dist.Normal, loc=Param(link="identity"), scale=0.1)


def test_a_sigma_of_half_the_error_shows() -> None:
    x = 0.5 + 0.2 * torch.randn(250, 1, 8, 8)
    scores = _independent(x, NORMAL, 0.5)
    for probability, found in scores["coverage"]:  # type: ignore[attr-defined]
        expected = 2 * norm.cdf(norm.ppf(0.5 + probability / 2) / 2) - 1
        assert found == pytest.approx(expected, abs=0.016)
    sigma = scores["sigma"]
    assert sigma["actual"] == pytest.approx(2 * sigma["predicted"], rel=0.03)  # type: ignore[index]


def test_residuals_that_hang_together_show() -> None:
    white = torch.randn(250, 1, 12, 13)
    # A sum of a pixel and its neighbour: correlation ½ beside, none below.
    x = 0.5 + 0.1 * (white[..., 1:] + white[..., :-1]) / math.sqrt(2)
    near = _independent(x, NORMAL, 0.5)["neighbours"]
    assert near["beside"] == pytest.approx(0.5, abs=0.03)  # type: ignore[index]
    assert near["below"] == pytest.approx(0, abs=0.03)  # type: ignore[index]
    assert near["map"][3][5] == pytest.approx(0, abs=0.03)  # type: ignore[index]


def test_sigma_that_follows_the_error_pixel_by_pixel() -> None:
    sigma = torch.linspace(0.05, 0.5, 64)
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=Param(link="exp"))
    raw = torch.cat([torch.full((64,), 0.5), sigma.log()])
    x = (0.5 + sigma * torch.randn(250, 64)).reshape(250, 1, 8, 8)
    pairs = np.array(_independent(x, head, raw)["sigma"]["per_pixel"])  # type: ignore[index]
    assert len(pairs) == 10
    np.testing.assert_allclose(pairs[:, 1], pairs[:, 0], rtol=0.1)


def test_vectors_have_no_neighbours_and_cauchy_no_sigma() -> None:
    scores = _independent(torch.rand(30, 6), CASES["cauchy"](), 0.1)
    assert scores["neighbours"] is None
    assert scores["sigma"] is None
