"""Samplers of the aggregate posterior, where that is known: a mixture of three normals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from pyro_vae import VAE, Head, InputError, Param, networks
from pyro_vae.inference import mixture_prior, two_stage
from tests.metrics.models import FLOOR, unsoftplus

CENTRES = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.0, -3.0]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
SPREAD, ENCODER, COUNT = 0.4, 0.3, 2000
SIGMA = 0.5  # of q(z): 0.3² + 0.4² = 0.5²
ERRORS = 4.5
"""Standard errors that a figure may be off: 7e-6 of normal figures are further."""


@dataclass(frozen=True)
class Toy:
    """A VAE that encodes x as N(x, 0.3²)."""

    vae: VAE
    x: Tensor
    aggregate: dist.MixtureSameFamily


@pytest.fixture(scope="module")
def toy() -> Toy:
    generator = torch.Generator().manual_seed(0)
    which = torch.multinomial(WEIGHTS, COUNT, replacement=True, generator=generator)
    x = CENTRES[which] + SPREAD * torch.randn(COUNT, 2, generator=generator)
    encoder, decoder = nn.Linear(2, 4), nn.Linear(2, 2)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([torch.eye(2), torch.zeros(2, 2)]))
        encoder.bias.copy_(torch.tensor([0.0, 0.0, *[unsoftplus(ENCODER - FLOOR)] * 2]))
        decoder.weight.copy_(torch.eye(2))
        decoder.bias.zero_()
    head = Head.of(dist.Normal, loc=Param(link="identity"), scale=SPREAD, levels="real")
    components = dist.Normal(CENTRES, SIGMA).to_event(1)
    aggregate = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), components)
    return Toy(VAE((2,), 2, head, (encoder, decoder)).eval(), x, aggregate)


def energy(a: Tensor, b: Tensor) -> float:
    """Squared energy distance of two samples (Székely & Rizzo 2013), unbiased; 0 if alike."""
    x, y = a.numpy(), b.numpy()
    n, m = len(x), len(y)
    within = cdist(x, x).sum() / (n * (n - 1)) + cdist(y, y).sum() / (m * (m - 1))
    return float(2 * cdist(x, y).mean() - within)


def test_the_mixture_is_the_aggregate_posterior(toy: Toy) -> None:
    """Seed 0: weights, means and σ each within 4.5 standard errors of 2,000 draws; 11 figures."""
    found = mixture_prior(toy.vae, toy.x, components=3)
    assert found.event_shape == (2,)
    means = found.component_distribution.mean
    order = torch.cdist(CENTRES, means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    weights = found.mixture_distribution.probs[order]
    assert ((weights - WEIGHTS).abs() < ERRORS * (WEIGHTS * (1 - WEIGHTS) / COUNT).sqrt()).all()
    size = COUNT * WEIGHTS[:, None]
    assert ((means[order] - CENTRES).abs() < ERRORS * SIGMA / size.sqrt()).all()
    sigma = found.component_distribution.stddev[order]
    assert ((sigma - SIGMA).abs() < ERRORS * SIGMA / (2 * size).sqrt()).all()


def test_the_mixture_scores_as_the_aggregate_posterior(toy: Toy) -> None:
    """KL from fresh draws: 17 parameters fitted to 2,000 draws cost 17/4000 nats on average."""
    torch.manual_seed(1)
    z = toy.aggregate.sample((4000,))
    found = mixture_prior(toy.vae, toy.x, components=3)
    lost = toy.aggregate.log_prob(z) - found.log_prob(z)
    assert lost.mean() < 0.03
    assert (toy.aggregate.log_prob(z) - toy.vae.prior().log_prob(z)).mean() > 1


@pytest.mark.slow
def test_two_stages_draw_from_the_aggregate_posterior(toy: Toy) -> None:
    """Energy distance of 2,000 draws, and the share near each centre; seed 0.

    Drawn from q(z) itself the distance is 0 ± 0.003 (40 repetitions), from the standard normal
    0.55. Eight epochs bring it to 0.035: a short training is no exact fit, a sixth is asked.
    """
    stage = two_stage(toy.vae, toy.x, epochs=8, net=networks.MLP(hidden=64, depth=2), lr=3e-3)
    z = stage.sample(2000, seed=1)
    torch.manual_seed(2)
    true = toy.aggregate.sample((2000,))
    apart = energy(toy.vae.prior().sample((2000,)), true)
    assert apart > 0.4
    assert energy(z, true) < apart / 6
    share = torch.bincount(torch.cdist(z, CENTRES).argmin(1), minlength=3) / len(z)
    assert ((share - WEIGHTS).abs() < 0.08).all()
    assert ((z.mean(0) - true.mean(0)).abs() < 0.25).all()


@pytest.mark.parametrize("dims", [1, 2])
def test_the_energy_distance_by_hand(dims: int) -> None:
    a, b = torch.zeros(2, dims), torch.zeros(3, dims)
    b[:, 0] = torch.tensor([1.0, 1.0, 4.0])
    assert energy(a, b) == pytest.approx(2 * 2.0 - 0 - 2.0)


def _numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    return list(state[1])


def test_draws_are_reproducible_and_nothing_of_the_callers_changes(toy: Toy) -> None:
    state, numbers = torch.get_rng_state(), _numpy_state()
    mixtures = [mixture_prior(toy.vae, toy.x, 2, seed).log_prob(toy.x[:9]) for seed in (3, 3, 4)]
    stages = [two_stage(toy.vae, toy.x[:300], 1, seed).sample(9, seed=5) for seed in (3, 3, 4)]
    for first, second, other in (mixtures, stages):
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert _numpy_state() == numbers
    assert not pyro.get_param_store()


def test_without_a_seed_draws_go_on(toy: Toy) -> None:
    stage = two_stage(toy.vae, toy.x[:300], 1)
    assert not torch.equal(stage.sample(3), stage.sample(3))
    assert stage.vae.latent_dim == 2


@pytest.mark.parametrize(
    "drawn",
    [
        lambda vae, few: mixture_prior(vae, few, components=2).sample((3,)),
        lambda vae, few: two_stage(vae, few, epochs=1, net=networks.MLP(hidden=8)).sample(3),
    ],
    ids=["mixture", "two stages"],
)
def test_both_give_pictures(drawn: Callable[[VAE, Tensor], Tensor], few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2)
    assert vae.picture(vae.decode(drawn(vae, few)), "mean").shape == (3, 1, 28, 28)


def test_mistakes(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="components must be a positive integer"):
        mixture_prior(toy.vae, toy.x, components=0)
    with pytest.raises(InputError, match="5 components need as many draws at least, got 4"):
        mixture_prior(toy.vae, toy.x[:4], components=5)
    with pytest.raises(InputError, match="shape"):
        two_stage(toy.vae, torch.zeros(3, 7), epochs=1)
    stage = two_stage(toy.vae, toy.x[:50], epochs=1)
    with pytest.raises(InputError, match="size must be a positive integer"):
        stage.sample(0)
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(InputError, match=r"needs scikit-learn: pip install") as raised:
        mixture_prior(toy.vae, toy.x)
    assert "\n" not in str(raised.value)
