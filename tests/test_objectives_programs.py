"""Guides that objectives must refuse, sites without weight, and a VAE's parameters in a loss."""

from __future__ import annotations

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.testing.rejection_gamma import ShapeAugmentedGamma
from torch import Tensor

from pyro_vae import VAE, networks, objectives

SPECS = ("trace", "mean-field", "iwae:3", "dreg:3", "free-bits:0.1", "capacity:1,gamma=2")


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_guide_reparameterised_in_part_is_refused(spec: str, wrapped: bool) -> None:
    def sampler() -> dist.Distribution:
        rate = pyro.param("rate", torch.tensor(2.0))
        accept = torch.distributions.Uniform(0.0, 1.0)
        drawn = dist.Rejector(dist.Normal(rate, 1.0), lambda z: accept.log_prob(z % 1), -0.5)
        return drawn.mask(torch.tensor(True)) if wrapped else drawn

    def model() -> None:
        pyro.sample("z", dist.Normal(0.0, 1.0))

    def guide() -> None:
        pyro.sample("z", sampler())

    pyro.clear_param_store()
    with pytest.raises(ValueError, match="in part only"):
        objectives.parse(spec).loss(model, guide)


def test_a_gamma_by_rejection_is_refused() -> None:
    def model() -> None:
        pyro.sample("z", dist.Gamma(2.0, 1.0))

    def guide() -> None:
        pyro.sample("z", ShapeAugmentedGamma(torch.tensor(2.0), torch.tensor(1.0)))

    with pytest.raises(ValueError, match="in part only"):
        objectives.TraceELBO().loss(model, guide)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("event", [False, True])
def test_a_site_that_is_masked_away_has_no_kl(spec: str, event: bool) -> None:
    """The loss is then that of the data alone, −log N(x; z, 1) where z is drawn."""
    x, drawn = torch.linspace(-1, 1, 5), []

    def model(x: Tensor) -> None:
        with pyro.plate("data", 5):
            q = dist.Normal(torch.zeros(5, 2) if event else torch.zeros(5), 1.0)
            z = pyro.sample("z", (q.to_event(1) if event else q).mask(False))
            z = z.sum(-1) if event else z
            drawn.append(z)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 5):
            q = dist.Normal(torch.ones(5, 2) if event else torch.ones(5), 0.5)
            pyro.sample("z", (q.to_event(1) if event else q).mask(False))

    elbo = objectives.parse(spec, max_plate_nesting=1)
    loss = elbo.differentiable_loss(model, guide, x)
    scored = torch.distributions.Normal(drawn[-1], 1.0).log_prob(x)
    if elbo.num_particles == 1:
        wanted = -scored.sum()
        if spec.startswith("free-bits"):  # its floor costs as much as ever
            wanted = wanted + 0.1 * 5
        if spec.startswith("capacity"):
            wanted = wanted + 2 * 5
    else:
        wanted = -(scored.logsumexp(0) - torch.tensor(3.0).log()).sum()
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize("captured", [False, True])
def test_a_loss_of_a_vae_has_its_parameters(captured: bool) -> None:
    vae = VAE((4,), 2, "real-normal", networks.MLP(hidden=4))
    elbo = objectives.CapturedELBO(backend="aten") if captured else objectives.TraceELBO()
    loss = elbo(vae.model, vae.guide)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in vae.parameters()}
    optimiser, x = torch.optim.Adam(loss.parameters(), lr=0.1), torch.randn(8, 4)
    before = copy.deepcopy(vae.state_dict())
    for _ in range(3):
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()
    moved = [key for key, value in vae.state_dict().items() if not torch.equal(value, before[key])]
    assert len(moved) == len(list(vae.parameters()))
    again = copy.deepcopy(loss)
    assert not {id(p) for p in again.parameters()} & {id(p) for p in vae.parameters()}
