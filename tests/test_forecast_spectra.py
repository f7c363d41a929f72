"""Covariances of wide and of large data, as forecasts take them, against the whole matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae import forecasting
from pyro_vae.forecasting import spectra
from pyro_vae.forecasting.spectra import Covariance, blocks_of


def test_streaming_is_the_same_as_whole(few: Tensor) -> None:
    x = few.flatten(1).double()
    whole = Covariance(lambda: iter([x]), 784)
    streamed = Covariance(lambda: iter(x.split(7)), 784)
    np.testing.assert_allclose(streamed.top(30), whole.top(30), rtol=1e-9)
    np.testing.assert_allclose(streamed.variance, x.numpy().var(0), atol=1e-9)
    expected = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(whole.top(30), expected[:30], rtol=1e-9)


def test_blocks_hold_a_few_million_numbers() -> None:
    images = torch.zeros(1000, 1, 100, 100)
    sizes = [len(block) for block in blocks_of(images, lambda part: part)()]
    assert sum(sizes) == 1000
    assert max(sizes) * 10_000 <= 4_000_000


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_randomised_is_the_same_as_full(
    digits: pv.data.Data, monkeypatch: pytest.MonkeyPatch, weighted: bool
) -> None:
    x = digits.train[:1000].flatten(1).double() / 255
    weight = (torch.rand(784, dtype=torch.float64) + 0.5) if weighted else None
    full = Covariance(lambda: iter(x.split(300)), 784).top(20, weight)
    monkeypatch.setattr(spectra, "WIDE", 100)
    state = torch.get_rng_state()
    randomised = Covariance(lambda: iter(x.split(300)), 784)
    found = randomised.top(20, weight)
    np.testing.assert_allclose(found, full, rtol=1e-4)
    assert randomised.trace == pytest.approx(float(x.var(0, correction=0).sum()))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(randomised.top(20, weight), found)


def test_wide_images() -> None:
    # 3 x 40 x 40 numbers of rank 3: eigenvalues known, the rest 0.
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((50, 3))
    white = np.linalg.qr(raw - raw.mean(0))[0] * 50**0.5
    axes = np.linalg.qr(rng.standard_normal((4800, 3)))[0]
    images = torch.from_numpy(white * [2.0, 1.0, 0.5] @ axes.T).reshape(50, 3, 40, 40)
    forecast = forecasting.forecast_gaussian(images, 0.5, latent_dim=6)
    assert forecast.eigenvalues == pytest.approx([4, 1, 0.25, 0, 0, 0], abs=1e-6)
    assert forecast.active_units == 2


def test_a_limit_takes_images_from_everywhere() -> None:
    images = torch.cat([torch.zeros(300, 4), torch.ones(300, 4)])
    vae = pv.VAE((4,), 2, "normal", pv.networks.MLP(hidden=2))
    assert forecasting.forecast_of(vae, images, limit=10).eigenvalues[0] == pytest.approx(1.0)


@pytest.mark.parametrize("count", [3, 10, 47, 300])
@pytest.mark.parametrize("dims", [5, 800])
def test_what_rounding_leaves_is_no_variance(dims: int, count: int) -> None:
    """The mean of equal numbers is off by roundings, for some counts on any processor."""
    rows = (0.1 + torch.arange(dims, dtype=torch.float64) / 7).repeat(count, 1)
    assert Covariance(lambda rows=rows: iter(rows.split(11)), dims).top(3).tolist() == [0, 0, 0]
    rows[0, 0] += 1e-6
    found = Covariance(lambda rows=rows: iter(rows.split(11)), dims).top(3)
    variance = 1e-12 * (count - 1) / count**2
    assert found.tolist() == pytest.approx([variance, 0, 0], rel=1e-6)


@pytest.mark.parametrize("variance", [0.5, None])
def test_images_that_do_not_vary(variance: float | None) -> None:
    forecast = forecasting.forecast_gaussian(torch.full((5, 4), 0.3), variance)
    assert forecast.collapses
    assert forecast.warning() == "this will collapse: all images are the same"
    assert json.loads(json.dumps(forecast.to_dict()))["active_units"] == 0
