from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, laplace
from torch import Tensor

from pyro_vae import VAE, networks
from pyro_vae.metrics.reconstructions import (
    compare,
    describe,
    reconstructed,
    reconstruction_scores,
)
from pyro_vae.observed import KINDS
from pyro_vae.plots.runs import unit

from ..zoo import CASES


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(60, 1, 20, 24, generator=generator)
    return (0.7 * target + 0.1 * torch.rand(target.shape, generator=generator)), target


def test_errors(pair: tuple[Tensor, Tensor]) -> None:
    shown, target = (part.double().numpy() for part in pair)
    scores = compare(*pair)
    mse = ((shown - target) ** 2).mean()
    assert scores["mse"] == pytest.approx(mse)
    assert scores["mae"] == pytest.approx(np.abs(shown - target).mean())
    assert scores["psnr"] == pytest.approx(-10 * math.log10(mse))


def _similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 with a Gaussian window of σ = 1.5 over 11 × 11 that lies in the image."""

    def smooth(x: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(x, 1.5, radius=5, mode="mirror"))

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    values = (2 * mean_a * mean_b + 0.01**2) * (2 * both + 0.03**2)
    values /= (mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)
    return float(values[5:-5, 5:-5].mean())


def test_structural_similarity(pair: tuple[Tensor, Tensor]) -> None:
    shown, target = (part.double().numpy()[:, 0] for part in pair)
    expected = np.mean([_similarity(a, b) for a, b in zip(shown, target, strict=True)])
    assert compare(*pair)["ssim"] == pytest.approx(expected, abs=1e-4)


def test_of_a_perfect_reconstruction(pair: tuple[Tensor, Tensor]) -> None:
    scores = compare(pair[1], pair[1])
    assert (scores["mse"], scores["mae"], scores["psnr"]) == (0, 0, None)
    assert scores["ssim"] == pytest.approx(1)


def test_looks(pair: tuple[Tensor, Tensor]) -> None:
    pictures = pair[1].clone()
    pictures[:, :, 0, :6], pictures[:, :, 1, :3] = 0.01, 0.99
    pictures[0, 0, 5, 5], pictures[0, 0, 6, 6] = 0.0, 1.0
    array = pictures.double().numpy()
    looks = describe(pictures)
    edges = [laplace(picture[0])[1:-1, 1:-1].var() for picture in array]
    assert looks["dark"] == pytest.approx((array < 0.02).mean())
    assert looks["light"] == pytest.approx((array > 0.98).mean())
    assert (looks["darkest"], looks["lightest"]) == (0.0, 1.0)
    assert looks["sharpness"] == pytest.approx(np.mean(edges), rel=1e-5)


def _kinds(name: str, images: Tensor) -> dict[str, dict[str, float]]:
    vae = VAE(tuple(images.shape[1:]), 2, CASES[name](), networks.MLP(hidden=8)).eval()
    with torch.no_grad():
        pictures, _ = reconstructed(vae, vae.code(images), KINDS)
        scores = reconstruction_scores(vae, pictures, unit(vae, images))
    assert scores.pop("images") == len(images)
    return scores


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("normal-per-image", {"mean", "mode", "sample", "parameter"}),
        ("discretized-logistic", {"mean", "mode", "sample", "parameter"}),
        ("beta", {"mean", "sample"}),
        ("beta-binomial", {"mean", "sample"}),
    ],
)
def test_kinds_that_an_observation_lacks_are_left_out(
    name: str, kinds: set[str], few: Tensor
) -> None:
    scores = _kinds(name, few[:20])
    assert kinds | {"data"} <= scores.keys()
    assert all("ssim" in scores[kind] for kind in kinds)
    assert "parameter" not in scores or "parameter" in kinds
    assert all(0 <= scores[kind]["dark"] <= 1 for kind in scores)


def test_counts_have_errors_but_no_saturation() -> None:
    counts = torch.poisson(torch.full((20, 5), 3.0))
    scores = _kinds("poisson", counts)
    assert set(scores["mean"]) == {"mse", "mae", "darkest", "lightest"}


def test_of_vectors_there_is_no_similarity() -> None:
    scores = _kinds("normal", torch.randint(0, 256, (20, 12), dtype=torch.uint8))
    assert scores["mean"]["ssim"] is None
    assert scores["mean"]["sharpness"] is None
    assert scores["mean"]["psnr"] is not None
