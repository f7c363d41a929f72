"""Missing pixels: filled better than by the mean image and by the nearest neighbour."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from experiments import tables
from experiments.imputation import mean_image, nearest
from pyro_vae import VAE, Head, InputError, Param, Part, data
from pyro_vae.inference import impute, impute_parts
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


SIGMA = 0.5
NORMAL = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")
CLASSES = Head.of(dist.Categorical, logits=(3,), levels="classes").replace(interval=(0.0, 2.0))


def test_gaps_of_a_row_have_their_mean_given_the_rest() -> None:
    """z standard normal, a and b about z, c's log-odds linear in it; q is wrong on purpose."""
    encoder, decoder = nn.Linear(5, 2), nn.Linear(1, 5)
    slopes, offsets = torch.tensor([1.0, -2.0, 3.0, 0.0, -3.0]), torch.tensor([0.0, 1.0, 0, 0, 0])
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.copy_(torch.tensor([0.3, 0.8]))
        decoder.weight.copy_(slopes[:, None])
        decoder.bias.copy_(offsets)
    parts = {"a": Part((1,), NORMAL), "b": Part((1,), NORMAL), "c": Part((1,), CLASSES)}
    vae = VAE(parts, 1, net=(encoder, decoder))
    a = torch.tensor([[1.5], [-2.0], [torch.nan]])
    b = torch.tensor([[torch.nan], [torch.nan], [4.0]])
    c = torch.tensor([[torch.nan], [torch.nan], [1.0]])
    x = {"a": a, "b": b, "c": c}
    batch = data.Batch(x, None, {name: ~part.isnan() for name, part in x.items()})
    before = [part.clone() for part in x.values()]
    found = impute_parts(vae, batch, draws=2000)
    z = np.linspace(-8, 8, 4001)
    for row in range(3):
        log_p = norm.logpdf(z)
        for i, name in enumerate("ab"):
            if not torch.isnan(x[name][row]):
                mean = float(slopes[i]) * z + float(offsets[i])
                log_p = log_p + norm.logpdf(float(x[name][row]), mean, SIGMA)
        logits = z[:, None] * slopes[2:].numpy()
        odds = np.exp(logits - np.logaddexp.reduce(logits, 1)[:, None])
        if not torch.isnan(c[row]):
            log_p = log_p + np.log(odds[:, int(c[row])])
        p = np.exp(log_p) / np.exp(log_p).sum()
        for i, name in enumerate("ab"):
            value = float(found[name][row])
            if torch.isnan(x[name][row]):
                expected = (p * (float(slopes[i]) * z + float(offsets[i]))).sum()
                assert value == pytest.approx(expected, abs=0.1), (name, row)
            else:
                assert value == float(x[name][row])
        known = c[row].isnan()
        expected_class = (p[:, None] * odds).sum(0).argmax() if known else int(c[row])
        assert int(found["c"][row]) == expected_class
    for part, was in zip(x.values(), before, strict=True):
        torch.testing.assert_close(part, was, equal_nan=True)


def test_the_experiment_of_tables_runs(capsys: pytest.CaptureFixture[str]) -> None:
    tables.main(["--tiny", "--only", "wine"])
    found = [line.split("|")[2:5] for line in capsys.readouterr().out.splitlines()[2:]]
    errors = {what.strip(): (float(n), float(wrong)) for what, n, wrong in found[:3]}
    assert set(errors) == {"column means", "IterativeImputer", "pyro-vae impute"}
    assert errors["column means"][0] == pytest.approx(1, abs=0.1)  # a deviation, by definition
    assert errors["IterativeImputer"][0] < 0.9 * errors["column means"][0]


def test_errors_of_tables_are_of_what_was_hidden() -> None:
    table = tables.Table(
        ["a", "b"], np.array([[0.0], [2.0], [0.0], [2.0]]), np.array([["x"], ["y"], ["x"], ["x"]])
    )
    gaps = np.array([[True, False], [False, True], [False, True], [True, False]])
    filled = np.array([[1.0], [9.0], [9.0], [4.0]]), np.array([["y"], ["x"], ["x"], ["y"]])
    assert tables.error(table, gaps, filled) == pytest.approx((math.sqrt((1 + 4) / 2), 0.5))
    numbers, texts = tables.means(table, gaps, 0)
    assert numbers[:, 0].tolist() == [1, 2, 0, 1]
    assert texts[:, 0].tolist() == ["x", "x", "x", "x"]
