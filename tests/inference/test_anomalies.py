"""Anomaly scores: clothing, shuffled and black pictures against held-out digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from pyro_vae import VAE, InputError, data, evaluate
from pyro_vae.inference import Anomaly, anomaly


def area(anomalous: Tensor, normal: Tensor) -> float:
    """Of the receiver operating characteristic, by ranks (Mann & Whitney 1947)."""
    n, m = len(anomalous), len(normal)
    ranks = rankdata(np.concatenate([anomalous.numpy(), normal.numpy()]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


@pytest.fixture(scope="module")
def scored(digits: data.Data, trained: VAE) -> Anomaly:
    """250 held-out digits by 250 others."""
    return anomaly(trained, digits.test[250:], digits.test[:250])


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    values = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 2.0])
    assert area(*values) == pytest.approx((2 + 1 + 1.5) / 6)


def test_clothing_is_told_from_digits(digits: data.Data, trained: VAE, scored: Anomaly) -> None:
    """No chance but the fixed noise; a nearly trained model has 0.99."""
    try:
        clothing = data.load("fashion-mnist").test[:250]
    except InputError as error:
        pytest.skip(str(error))
    found = anomaly(trained, clothing, digits.test[:250])
    assert area(found.bound, scored.bound) > 0.95
    assert area(found.typicality, scored.typicality) > 0.95


def test_shuffled_pixels_are_told_from_digits(
    digits: data.Data, trained: VAE, scored: Anomaly
) -> None:
    order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
    shuffled = digits.test[250:].flatten(1)[:, order].reshape(-1, 1, 28, 28)
    found = anomaly(trained, shuffled, digits.test[:250])
    assert area(found.bound, scored.bound) > 0.95
    assert area(found.typicality, scored.typicality) > 0.95


def test_black_pictures_are_normal_by_the_bound_and_not_typical(
    digits: data.Data, trained: VAE, scored: Anomaly
) -> None:
    """Too simple: likelier than nearly every digit, as Nalisnick et al. found of other models."""
    found = anomaly(trained, torch.zeros_like(digits.test[:50]), digits.test[:250])
    assert area(found.bound, scored.bound) < 0.1
    assert area(found.typicality, scored.typicality) > 0.8


@pytest.mark.parametrize("iwae", [None, 5], ids=["elbo", "iwae"])
def test_scores_are_the_bounds_that_evaluate_tells(
    digits: data.Data, trained: VAE, iwae: int | None
) -> None:
    images = digits.test[:60]
    scores = evaluate(trained, images, iwae=iwae)
    bound = scores["elbo"] if iwae is None else scores["iwae"]["bound"]
    found = anomaly(trained, images, images, iwae)
    assert found.bound.shape == (60,)
    assert -found.bound.mean().item() == pytest.approx(bound, abs=1e-3)
    assert found.reference == pytest.approx(bound, abs=1e-3)
    distance = (-found.bound - found.reference).abs()
    torch.testing.assert_close(found.typicality, distance)


def test_mistakes(digits: data.Data, trained: VAE) -> None:
    with pytest.raises(InputError, match="shape"):
        anomaly(trained, torch.zeros(3, 1, 5, 5), digits.test)
    with pytest.raises(InputError, match="wants data in"):
        anomaly(trained, digits.test[:3], digits.test[:3].float())
    with pytest.raises(InputError, match="iwae must be a positive integer"):
        anomaly(trained, digits.test[:3], digits.test[:3], iwae=0)
