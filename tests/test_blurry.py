"""What docs/blurry.md says of blurry pictures, at a small setting of experiments/blurry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import optimize, special, stats
from torch import Tensor

import pyro_vae as pv
from experiments.blurry import asked
from experiments.blurry.__main__ import PARTS
from experiments.blurry.loop import Loss, Trained, train
from experiments.blurry.losses import autoencoder_mean
from experiments.blurry.pixels import corrupted, location, minimiser
from pyro_vae.networks import MLP

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def thousand(digits: pv.data.Data) -> Tensor:
    return digits.train[:1000].float() / 255


def best(loss: Any, values: np.ndarray) -> float:
    """Where the mean loss of a prediction in [0, 1] is least, by golden section."""
    found = optimize.minimize_scalar(
        lambda theta: float(loss(theta, values).mean()),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.x)


def cross_entropy(theta: float, x: np.ndarray) -> Any:
    return -special.xlogy(x, theta) - special.xlog1py(1 - x, -theta)


def squared_error(theta: float, x: np.ndarray) -> Any:
    return (theta - x) ** 2


def test_squared_error_and_cross_entropy_have_the_same_minimiser(thousand: Tensor) -> None:
    images = thousand[:300].double()
    mean = images.numpy().mean(0)
    squared, crossed = (minimiser(loss, images) for loss in ("squared error", "cross-entropy"))
    assert np.abs(squared.numpy() - mean).max() < 1e-4
    assert np.abs(crossed.numpy() - mean).max() < 1e-4
    column = range(2, 27, 2)
    for row in column:
        pixel = images[:, 0, row, 14].numpy()
        for loss, found in ((squared_error, squared), (cross_entropy, crossed)):
            assert float(found[0, row, 14]) == pytest.approx(best(loss, pixel), abs=1e-4)
    assert mean[0, column, 14].max() > 0.5  # pixels of every grey were among these


def trained(loss: Loss, images: Tensor, **options: Any) -> dict[str, Any]:
    """Twenty steps an epoch."""
    options = {"epochs": 20, "latent_dim": 8, "lr": 3e-3, "batch_size": 50, **options}
    found: Trained = train(loss, images[:900], net=MLP(hidden=100), **options)
    return found.scores(images[900:], images[:900].mean(0))


@pytest.mark.parametrize("loss", [asked.mse_mean, asked.bce_mean], ids=["squared", "entropy"])
def test_a_mean_collapses_whatever_the_loss(thousand: Tensor, loss: Loss) -> None:
    scores = trained(loss, thousand)
    assert scores["active_units"] == 0
    assert scores["kl"] < 0.01
    assert scores["spread"] < 0.02
    assert 0.9 < scores["mse_over_mean_image"] < 1.5


@pytest.mark.parametrize("loss", [asked.mse_sum, asked.bce_sum], ids=["squared", "entropy"])
def test_a_sum_does_not(thousand: Tensor, loss: Loss) -> None:
    scores = trained(loss, thousand)
    assert scores["active_units"] >= 6
    assert scores["spread"] > 0.5
    assert scores["mse_over_mean_image"] < 0.7


def test_a_plain_autoencoder_does_not_collapse_under_the_mean(thousand: Tensor) -> None:
    scores = trained(autoencoder_mean, thousand, posterior="delta")
    assert scores["active_units"] == 8
    assert scores["spread"] > 0.5
    assert scores["mse_over_mean_image"] < 0.7


class Autoencoder(pv.VAE):
    def encode(self, x: Tensor) -> Any:
        return dist.Delta(super().encode(x).mean, event_dim=1)


def test_nor_does_one_with_a_delta_posterior_and_no_kl(digits: pv.data.Data) -> None:
    # σ = 140 with batches of 50: 2σ² is about what a mean over batch and pixels divides by.
    wide = pv.observations.get("normal", scale=140.0)
    spread = {}
    for kind, beta in ((pv.VAE, 1.0), (Autoencoder, 0.0)):
        torch.manual_seed(0)
        model = kind((1, 28, 28), 8, wide, MLP(hidden=100))
        pv.fit(model, digits.train[:600], epochs=15, batch_size=50, lr=3e-3, beta=beta)
        pictures = model.reconstruct(digits.test)
        spread[beta] = float(pictures.std(0).mean())
    assert spread[1.0] < 0.01
    assert spread[0.0] > 0.1


@pytest.fixture(scope="module")
def copies(digits: pv.data.Data) -> Tensor:
    return corrupted(digits.test[:1].double() / 255, copies=31, share=0.15)[:, 0, 0, ::4, ::4]


def test_a_normal_sits_at_the_mean_and_a_laplace_at_the_median(copies: Tensor) -> None:
    values = copies.numpy()
    assert np.abs(location("Normal", copies).numpy() - values.mean(0)).max() < 1e-6
    assert np.abs(location("Laplace", copies).numpy() - np.median(values, 0)).max() < 1e-3
    assert np.abs(values.mean(0) - np.median(values, 0)).max() > 0.1  # they are told apart


def test_cross_entropy_sits_at_the_mean_too(copies: Tensor) -> None:
    found = minimiser("cross-entropy", copies).numpy()
    assert np.abs(found - copies.numpy().mean(0)).max() < 1e-4


def test_a_student_t_sits_where_scipy_finds_it(copies: Tensor) -> None:
    values = copies.flatten(1).numpy()
    found = location("Student-t", copies).flatten().numpy()

    def loss(loc: float, x: np.ndarray) -> Any:
        return -stats.t.logpdf(x, 3, loc, 0.05)

    wanted = np.array([best(loss, column) for column in values.T])
    assert np.abs(found - wanted).max() < 1e-4


def test_a_student_t_lies_between_median_and_mean_when_outliers_are_mild() -> None:
    """Far outliers it forgets, and then passes the median; near ones pull it some way."""
    values = torch.tensor([0.40, 0.42, 0.44, 0.46, 0.60], dtype=torch.float64)[:, None]
    laplace, student, normal = (
        float(location(family, values)) for family in ("Laplace", "Student-t", "Normal")
    )
    assert laplace == pytest.approx(0.44, abs=1e-4)
    assert normal == pytest.approx(0.464, abs=1e-6)
    assert laplace + 1e-3 < student < normal - 1e-3


def test_copies_are_noisy_and_white_as_asked() -> None:
    images = torch.full((1, 1, 40, 40), 0.5, dtype=torch.float64)
    values = corrupted(images, copies=20, share=0.2, noise=0.05)
    white = values == 1
    # 32,000 draws: 4 standard errors of a share of .2, a failure in 16,000 seeds.
    assert float(white.double().mean()) == pytest.approx(0.2, abs=4 * (0.16 / 32_000) ** 0.5)
    assert float(values[~white].std()) == pytest.approx(0.05, rel=0.03)


def test_the_page_shows_every_picture_and_names_every_part() -> None:
    page = (DOCS / "blurry.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(pictures/(\w+\.png)\)", page))
    made = {path.name for path in (DOCS / "pictures").glob("*.png")}
    assert shown
    assert shown <= made
    assert PARTS
    for part in PARTS:
        assert f"--part {part}" in page, part


@pytest.mark.parametrize("name", asked.__all__)
def test_the_page_names_every_function(name: str) -> None:
    page = (DOCS / "blurry.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page or f"asked.py:{name}" in page
    x = torch.rand(4, 1, 28, 28)
    loss = getattr(asked, name)(x, x.clamp(0.1, 0.9), torch.ones(4, 3), torch.zeros(4, 3))
    assert loss.dim() == 0
