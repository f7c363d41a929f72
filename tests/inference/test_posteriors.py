"""Refinement and Hamiltonian Monte Carlo against posteriors in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.ops.stats import effective_sample_size
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from pyro_vae import VAE, InputError
from pyro_vae.inference import hmc, refine
from tests.inference.conftest import DIMS, LATENTS, Oblique
from tests.metrics.models import Linear

MASKS = {"all": None, "some": torch.arange(5 * DIMS).reshape(5, DIMS) % 3 != 0}
ERRORS = 4.5
"""Standard errors that a Monte Carlo figure may be off: 7e-6 of normal figures are further."""


@pytest.fixture(params=list(MASKS.values()), ids=list(MASKS))
def mask(request: pytest.FixtureRequest) -> Tensor | None:
    chosen: Tensor | None = request.param
    return chosen


def _full(q: Any) -> MultivariateNormal:
    return MultivariateNormal(q.mean, scale_tril=torch.diag_embed(q.stddev))


def test_refinement_reaches_the_best_diagonal_normal(oblique: Oblique, mask: Tensor | None) -> None:
    """Mean of the posterior, and σ_i² = 1/Λ_ii; the KL to the posterior is the lost ELBO.

    Seed 0: nothing is left to chance; over three seeds the most was 0.006, of 15 to 45 at first.
    """
    exact = oblique.posterior(mask)
    best = torch.diagonal(exact.precision_matrix, dim1=-2, dim2=-1) ** -0.5
    least = kl_divergence(MultivariateNormal(exact.mean, scale_tril=torch.diag_embed(best)), exact)
    assert (least > 0.05).all()  # the posterior is no diagonal normal
    found = refine(oblique.vae, oblique.x, steps=400, particles=16, mask=mask)
    assert found.batch_shape == (5,)
    assert found.event_shape == (LATENTS,)
    before = kl_divergence(_full(oblique.vae.encode(oblique.x)), exact) - least
    excess = kl_divergence(_full(found), exact) - least
    assert (before > 0.5).all()
    assert (excess.abs() < 0.02).all()


def test_a_few_steps_take_most_of_the_gap(oblique: Oblique) -> None:
    exact = oblique.posterior()
    start = kl_divergence(_full(oblique.vae.encode(oblique.x)), exact)
    after = kl_divergence(_full(refine(oblique.vae, oblique.x, steps=50)), exact)
    assert (after < start / 10).all()


@pytest.mark.slow
def test_draws_follow_the_exact_posterior(oblique: Oblique, mask: Tensor | None) -> None:
    """First and second moments, each within 4.5 standard errors; 18 figures, seed 0."""
    x, some = oblique.x[:2], None if mask is None else mask[:2]
    exact = oblique.posterior(mask)
    mean, covariance = exact.mean[:2], exact.covariance_matrix[:2]
    draws = hmc(oblique.vae, x, num_samples=150, warmup_steps=80, mask=some, chains=2)
    assert draws.z.shape == (300, 2, LATENTS)
    assert draws.divergences == 0
    assert (draws.r_hat < 1.1).all()
    assert (draws.effective_size > 40).all()
    assert ((draws.mean - mean).abs() < ERRORS * draws.standard_error).all()
    away = draws.z - mean
    products = away[..., :, None] * away[..., None, :]
    size = effective_sample_size(products.unflatten(0, (2, 150)))
    error = products.std(0) / size.sqrt()
    assert ((products.mean(0) - covariance).abs() < ERRORS * error).all()
    assert (error < 0.4 * covariance.diagonal(dim1=-2, dim2=-1).amax()).all()


@pytest.mark.slow
def test_the_exact_guide_and_the_chains_agree() -> None:
    """Orthogonal columns: the guide is the posterior, to float32; draws within 4.5 errors."""
    linear = Linear.random(DIMS, LATENTS, 0.5)
    vae, x = linear.vae((DIMS,)), linear.draw(2, (DIMS,))
    guide = vae.encode(x)
    exact = linear.posterior_mean(x.double().numpy())
    np.testing.assert_allclose(guide.mean.detach(), exact, atol=1e-5)
    np.testing.assert_allclose(guide.stddev[0].detach().numpy(), linear.posterior_scale, atol=1e-5)
    draws = hmc(vae, x, num_samples=200, warmup_steps=50)
    off = (draws.mean.numpy() - exact) / draws.standard_error.numpy()
    assert (abs(off) < ERRORS).all()
    ratio = draws.stddev.numpy() / linear.posterior_scale
    assert (abs(ratio - 1) < 0.3).all()  # 4.5 errors of a σ from 110 draws
    posterior = MultivariateNormal(
        torch.tensor(exact), torch.tensor(linear.posterior_scale**2).diag()
    )
    # Over eight seeds at most 0.006; of 16 particles now and then 0.024.
    kept = refine(vae, x, particles=64)
    assert (kl_divergence(_full(_double(kept)), posterior) < 0.02).all()


def _double(q: Any) -> Any:
    return torch.distributions.Normal(q.mean.double(), q.stddev.double())


def test_what_is_missing_may_be_anything(oblique: Oblique) -> None:
    mask = MASKS["some"]
    assert mask is not None
    expected = refine(oblique.vae, oblique.x, steps=5, mask=mask)
    other = oblique.x.where(mask, torch.tensor(torch.nan))
    found = refine(oblique.vae, other, steps=5, mask=mask)
    assert torch.equal(found.mean, expected.mean)


def test_images_are_refined_each_for_itself(oblique: Oblique) -> None:
    together, alone = (refine(oblique.vae, oblique.x[:n], steps=20) for n in (5, 2))
    torch.testing.assert_close(together.mean[:2], alone.mean)
    torch.testing.assert_close(together.stddev[:2], alone.stddev)


@pytest.mark.parametrize("what", [refine, hmc], ids=["refine", "hmc"])
def test_nothing_of_the_callers_changes(what: Any, few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2).train()
    options = {"steps": 3} if what is refine else {"num_samples": 4, "warmup_steps": 2}
    state = torch.get_rng_state()
    first, second = (what(vae, few[:3], seed=7, **options) for _ in range(2))
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.mean, what(vae, few[:3], seed=8, **options).mean)
    assert torch.equal(torch.get_rng_state(), state)
    assert not pyro.get_param_store()
    assert vae.training
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert not first.mean.requires_grad


def test_covariates_reach_the_decoder(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, covariates=3)
    given = torch.eye(3)
    found = [refine(vae, few[:3], steps=5, covariates=given[[i] * 3]).mean for i in range(2)]
    assert not torch.allclose(*found)
    assert hmc(vae, few[:3], 4, 2, covariates=given).z.shape == (4, 3, 2)


@pytest.mark.parametrize("posterior", ["full", "iaf", "coupling"])
def test_other_posteriors_are_a_start(posterior: str, few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, posterior=posterior, prior="mixture:3")
    q = refine(vae, few[:3], steps=3)
    assert torch.isfinite(q.mean).all()
    assert hmc(vae, few[:2], 4, 2).z.shape == (4, 2, 2)


FEW = torch.zeros(2, 1, 28, 28)
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"x": torch.zeros(2, 5)}, r"must have shape \(N, 1, 28, 28\)"),
    "no tensor": ({"x": [1, 2]}, "must be a tensor"),
    "NaN": ({"x": FEW + torch.nan}, "must be finite where they are observed"),
    "range": ({"x": FEW + 7}, "wants data in"),
    "mask's type": ({"mask": torch.ones(28)}, "must be a boolean tensor"),
    "mask's shape": ({"mask": torch.ones(27, dtype=torch.bool)}, "broadcasts to it; got"),
    "covariates": ({"covariates": torch.ones(1, 3)}, "covariates must be given for each"),
    "seed": ({"seed": -1}, "seed must be a non-negative integer"),
    "steps": ({"steps": 0}, "steps must be a positive integer"),
    "particles": ({"particles": 3}, "must be an even number"),
    "lr": ({"lr": 0.0}, "lr must be positive"),
}


@pytest.mark.parametrize(("given", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(given: dict[str, Any], message: str) -> None:
    vae = VAE((1, 28, 28), 2)
    with pytest.raises(InputError, match=message) as raised:
        refine(vae, **{"x": FEW, **given})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"num_samples": 3}, "at least 4"), ({"chains": 0}, "chains"), ({"warmup_steps": 0}, "warm")],
    ids=["draws", "chains", "warm-up"],
)
def test_mistakes_about_chains(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hmc(VAE((1, 28, 28), 2), FEW, **given)
