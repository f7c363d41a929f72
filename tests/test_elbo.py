"""The objective against closed forms: a linear-Gaussian VAE whose exact posterior is known."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from pyro_vae import VAE, Head, Param, elbo, objectives

DIM, LATENT, SIGMA = 7, 3, 0.4


class Linear(NamedTuple):
    vae: VAE
    x: Tensor
    log_evidence: Tensor


def _inverse_softplus(y: Tensor) -> Tensor:
    return y + torch.log(-torch.expm1(-y))


@pytest.fixture
def linear(float64: None) -> Linear:
    """A VAE whose guide is the exact posterior: orthogonal columns make that one diagonal."""
    torch.manual_seed(1)
    loadings = torch.linalg.qr(torch.randn(DIM, LATENT)).Q * torch.tensor([2.0, 1.0, 0.5])
    offset = torch.randn(DIM)
    variance = 1 / (1 + loadings.square().sum(0) / SIGMA**2)
    decoder = nn.Linear(LATENT, DIM)
    encoder = nn.Linear(DIM, 2 * LATENT)
    with torch.no_grad():
        decoder.weight.copy_(loadings)
        decoder.bias.copy_(offset)
        gain = variance[:, None] * loadings.T / SIGMA**2
        encoder.weight.copy_(torch.cat([gain, torch.zeros(LATENT, DIM)]))
        floor = 1e-4
        encoder.bias.copy_(torch.cat([-gain @ offset, _inverse_softplus(variance.sqrt() - floor)]))
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA)
    vae = VAE((DIM,), LATENT, head, (encoder, decoder))
    x = torch.randn(11, DIM)
    covariance = loadings @ loadings.T + SIGMA**2 * torch.eye(DIM)
    return Linear(vae, x, MultivariateNormal(offset, covariance).log_prob(x))


def _loss(vae: VAE, x: Tensor, beta: float | Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    loss: Tensor = Trace_ELBO().differentiable_loss(vae.model, vae.guide, x, beta=beta)
    return loss


def _wrong_guide(linear: Linear) -> Linear:
    """The same model, its guide moved off the posterior, so that the KL terms differ."""
    with torch.no_grad():
        linear.vae.encoder.bias += 0.3
    return linear


@pytest.mark.parametrize("seed", range(20))
def test_elbo_of_the_exact_posterior_is_the_log_evidence_for_every_draw(
    linear: Linear, seed: int
) -> None:
    loss = _loss(linear.vae, linear.x, 1.0, seed)
    assert abs((loss + linear.log_evidence.sum()).item()) < 1e-8


def test_terms_of_the_exact_posterior_sum_to_the_log_evidence_on_average(linear: Linear) -> None:
    # The KL of the terms is analytic, so only its mean agrees: 4 standard errors, seed 0.
    torch.manual_seed(0)
    x = linear.x.repeat(20, 1)
    parts = [elbo.held_out_terms(linear.vae, x, seed) for seed in range(40)]
    elbos = torch.stack([(part.reconstruction - part.kl).mean() for part in parts])
    error = elbos.std() / len(elbos) ** 0.5
    assert error < 0.05
    assert abs(elbos.mean() - linear.log_evidence.mean()) < 4 * error


def test_beta_scales_the_sampled_kl_and_nothing_else(linear: Linear) -> None:
    vae, x, _ = _wrong_guide(linear)
    torch.manual_seed(5)
    z = vae.encode(x).rsample()
    sampled = (vae.encode(x).log_prob(z) - vae.prior().log_prob(z)).sum()
    difference = (_loss(vae, x, 4.0, 5) - _loss(vae, x, 1.0, 5)) / 3
    assert torch.isclose(difference, sampled, rtol=1e-12, atol=0)


def test_the_sampled_kl_is_the_analytic_one_on_average(linear: Linear) -> None:
    """60 draws of a batch that holds each row 50 times: 4 standard errors, seeds 0 to 59."""
    vae, rows, _ = _wrong_guide(linear)
    x = rows.repeat(50, 1)
    draws = torch.stack([(_loss(vae, x, 4.0, s) - _loss(vae, x, 1.0, s)) / 3 for s in range(60)])
    q = vae.encode(x).base_dist
    analytic = kl_divergence(q, dist.Normal(torch.zeros_like(q.loc), 1.0)).sum()
    error = draws.std() / len(draws) ** 0.5
    assert error < 0.005 * analytic
    assert abs(draws.mean() - analytic) < 4 * error


@pytest.mark.parametrize("kind", ["float", "tensor"])
def test_beta_zero_leaves_the_reconstruction_alone(linear: Linear, kind: str) -> None:
    vae, x, _ = linear
    torch.manual_seed(3)
    reconstruction = vae.decode(vae.encode(x).rsample()).log_prob(x).sum()
    # Pyro's validation refuses a scale of 0; fit looks at schedules on the host instead.
    with pyro.validation_enabled(kind == "float"):
        loss = _loss(vae, x, 0.0 if kind == "float" else torch.tensor(0.0), 3)
    assert torch.isclose(-loss, reconstruction, rtol=1e-12, atol=0)


def test_a_tensor_beta_gives_the_loss_of_the_float(linear: Linear) -> None:
    vae, x, _ = linear
    found, wanted = _loss(vae, x, torch.tensor(2.5)), _loss(vae, x, 2.5)
    assert torch.isclose(found, wanted, rtol=1e-13, atol=0)


def test_our_trace_elbo_is_pyros(linear: Linear) -> None:
    vae, x, _ = _wrong_guide(linear)
    theirs = _loss(vae, x, 2.0, 7)
    torch.manual_seed(7)
    ours = objectives.TraceELBO().differentiable_loss(vae.model, vae.guide, x, beta=2.0)
    assert torch.isclose(ours, theirs, rtol=1e-13, atol=0)


def test_duplicating_the_batch_and_its_noise_changes_no_figure_per_image(linear: Linear) -> None:
    vae, x, _ = _wrong_guide(linear)
    once = poutine.trace(vae.guide).get_trace(x)
    terms, loss = _replayed(vae, x, once.nodes["latent"]["value"])
    twice, double = _replayed(vae, x.repeat(2, 1), once.nodes["latent"]["value"].repeat(2, 1))
    # Products of other batch sizes may be summed in another order: sums of up to 16 numbers here.
    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    close(double / 22, loss / 11)
    for name in ("reconstruction", "kl", "kl_per_latent", "mean"):
        value = getattr(terms, name)
        close(getattr(twice, name), torch.cat([value, value]))
    scores, doubled = (elbo.scores_of(part, "density") for part in (terms, twice))
    assert scores["elbo"] == pytest.approx(doubled["elbo"], rel=1e-12)
    assert scores["active_units"] == doubled["active_units"]


def _replayed(vae: VAE, x: Tensor, z: Tensor) -> tuple[elbo.Terms, Tensor]:
    known = poutine.Trace()
    known.add_node("latent", name="latent", type="sample", value=z, is_observed=False, infer={})
    guide = poutine.trace(poutine.replay(vae.guide, trace=known)).get_trace(x)
    model = poutine.trace(poutine.replay(vae.model, trace=guide)).get_trace(x)
    loss = guide.log_prob_sum() - model.log_prob_sum()
    return elbo.terms_of(model, guide), loss


def test_duplicating_the_latents_doubles_the_kl(float64: None) -> None:
    x = torch.randn(5, DIM)
    encoder = nn.Linear(DIM, 4)
    doubled = nn.Linear(DIM, 8)
    with torch.no_grad():
        order = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])
        doubled.weight.copy_(encoder.weight[order])
        doubled.bias.copy_(encoder.bias[order])
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=1.0)
    one = VAE((DIM,), 2, head, (encoder, nn.Linear(2, DIM)))
    two = VAE((DIM,), 4, head, (doubled, nn.Linear(4, DIM)))
    kl, twice = (elbo.held_out_terms(vae, x).kl for vae in (one, two))
    torch.testing.assert_close(twice, 2 * kl, rtol=1e-12, atol=1e-12)
