"""Missing pixels: filled better than by the mean image and by the nearest neighbour."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from experiments.imputation import mean_image, nearest
from pyro_vae import VAE, InputError, data
from pyro_vae.inference import impute
from tests.inference.conftest import Oblique

COUNT = 100


@pytest.fixture(scope="module")
def missing(digits: data.Data) -> Tensor:
    """Half of the pixels of some held-out digits, seed 0."""
    shape = (COUNT, *digits.test.shape[1:])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5


def test_pixels_are_filled_better_than_by_neighbours(
    digits: data.Data, trained: VAE, missing: Tensor
) -> None:
    """Squared error of missing pixels, paired over 100 digits: 3 standard errors, seed 0."""
    x, mask = digits.test[:COUNT], ~missing
    true, train = x.float() / 255, digits.train.float() / 255
    found = impute(trained, x, mask, steps=50)
    assert found.shape == x.shape
    assert torch.equal(found[mask], true[mask])
    errors = {
        name: _error(filled, true, missing)
        for name, filled in (
            ("vae", found),
            ("mean image", mean_image(train, true, mask)),
            ("nearest", nearest(train, true, mask)),
        )
    }
    for other in ("mean image", "nearest"):
        gain = errors[other] - errors["vae"]
        assert gain.mean() > 3 * gain.std() / math.sqrt(COUNT), other


def _error(filled: Tensor, true: Tensor, missing: Tensor) -> Tensor:
    return ((filled - true).square() * missing).flatten(1).sum(1) / missing.flatten(1).sum(1)


def test_the_neighbour_is_the_nearest_by_what_is_observed() -> None:
    generator = torch.Generator().manual_seed(0)
    train, true = (torch.rand(n, 1, 3, 3, generator=generator) for n in (7, 4))
    mask = torch.rand(true.shape, generator=generator) < 0.5
    filled = nearest(train, true, mask)
    for i in range(4):
        far = [((t - true[i])[mask[i]] ** 2).sum() for t in train]
        best = train[min(range(7), key=far.__getitem__)]
        torch.testing.assert_close(filled[i], true[i].where(mask[i], best))


def test_imputed_entries_have_their_mean_given_the_others(oblique: Oblique) -> None:
    """The linear-Gaussian model's conditional mean in closed form.

    Seed 0. The refined mean is exact; 400 draws of z leave a standard error of at most 0.1.
    """
    weight, bias, x = oblique.weight, oblique.bias, oblique.x
    mask = torch.arange(x.shape[1]) % 3 != 0
    total = weight @ weight.T + 0.25 * torch.eye(len(bias))
    gain = total[~mask][:, mask] @ torch.linalg.inv(total[mask][:, mask])
    expected = bias[~mask] + (x - bias)[:, mask] @ gain.T
    found = impute(oblique.vae, x.where(mask, torch.tensor(torch.nan)), mask, 300, draws=400)
    assert torch.equal(found[:, mask], x[:, mask])
    torch.testing.assert_close(found[:, ~mask], expected, atol=0.25, rtol=0)


def test_nothing_observed_or_nothing_missing(few: Tensor, trained: VAE) -> None:
    seen = torch.ones(28, 28, dtype=torch.bool)
    assert torch.equal(impute(trained, few[:2], seen, steps=2), few[:2].float() / 255)
    blind = impute(trained, few[:2], ~seen, steps=2)
    assert ((blind >= 0) & (blind <= 1)).all()


def test_a_mask_is_needed_as_a_boolean(few: Tensor, trained: VAE) -> None:
    with pytest.raises(InputError, match="boolean"):
        impute(trained, few[:2], torch.ones(28))
    with pytest.raises(InputError, match="draws must be a positive integer"):
        impute(trained, few[:2], few[:2] > 0, draws=0)
