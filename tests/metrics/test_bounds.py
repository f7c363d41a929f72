from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import cauchy, norm
from torch import Tensor

from pyro_vae import VAE, Head, InputError, Param, elbo, evaluate, networks, observations
from pyro_vae.metrics import importance_bound
from pyro_vae.metrics.chunking import bytes_made, bytes_of
from pyro_vae.metrics.encodings import encoded
from pyro_vae.metrics.importance import log_level_mass

from ..zoo import CASES
from .models import Linear, constant_vae

SHAPE = (6,)
MODEL = Linear.random(6, 2, 0.5)

DENSITIES = [
    name
    for name, make in CASES.items()
    if make().kind_on(torch.zeros(1)) == "density"
    and make().levels == "dequantised"
    and name not in ("student-t", "normal-from-data")
]


class Recording(VAE):
    """Keeps the latents that it decodes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.decoded: list[Tensor] = []

    def decode(self, z: Tensor, x: Tensor | None = None) -> Any:
        self.decoded.append(z)
        return super().decode(z, x)


@pytest.mark.parametrize("k", [1, 2, 50])
def test_with_the_exact_posterior_every_bound_is_the_evidence(k: int) -> None:
    x = MODEL.draw(300, SHAPE)
    found = importance_bound(MODEL.vae(SHAPE), x, k).observed.numpy()
    np.testing.assert_allclose(found, MODEL.log_evidence(x.numpy()), rtol=2e-5)


@pytest.mark.parametrize("k", [1, 7, 5000])
def test_it_equals_an_independent_computation(k: int) -> None:
    x = MODEL.draw(40, SHAPE)
    vae = MODEL.vae(SHAPE, widen=1.5, cls=Recording)
    assert isinstance(vae, Recording)
    found = importance_bound(vae, x, k).observed.numpy()
    # After those that tell which sites there are, and what one image and two take.
    z = torch.cat(vae.decoded[3:]).double().numpy()
    assert z.shape == (k, 40, 2)
    data = x.double().numpy()
    weights = (
        norm(z @ MODEL.weight.T + MODEL.bias, MODEL.sigma).logpdf(data).sum(-1)
        + norm.logpdf(z).sum(-1)
        - norm(MODEL.posterior_mean(data), 1.5 * MODEL.posterior_scale).logpdf(z).sum(-1)
    )
    np.testing.assert_allclose(found, logsumexp(weights, 0) - math.log(k), rtol=1e-5)


def test_it_grows_with_k_towards_the_evidence() -> None:
    x = MODEL.draw(100, SHAPE)
    vae = MODEL.vae(SHAPE, widen=1.8)
    bounds = [importance_bound(vae, x, k).observed for k in (1, 3, 10, 100, 1000, 5000)]
    for fewer, more in itertools.pairwise(bounds):
        gain = more - fewer
        # Each fails for one seed in 700.
        assert float(gain.mean()) > -3 * float(gain.std()) / math.sqrt(len(gain))
    slack = torch.tensor(MODEL.log_evidence(x.numpy())) - bounds[-1]
    # The mean of 100 images' weights is .0014 off: one seed in 100,000 fails.
    assert float(slack.mean()) == pytest.approx(0, abs=0.006)
    assert float((bounds[-1] - bounds[0]).mean()) > 0.3


@pytest.mark.parametrize("name", ["normal-per-image", "discretized-logistic", "categorical"])
def test_the_memory_budget_changes_nothing(name: str, few: Tensor) -> None:
    torch.manual_seed(0)
    vae = VAE((1, 28, 28), 3, CASES[name](), networks.MLP(hidden=8)).eval()
    x = vae.observe(few[:1])
    each = bytes_made(lambda: vae.decode(torch.zeros(1, 3), x).log_prob(x))
    images = few[:260] if name == "normal-per-image" else few[:20]
    # One pair of particle and image at a time would take minutes: seven, then everything.
    small = importance_bound(vae, images, 5, 7 * each).observed
    assert torch.allclose(small, importance_bound(vae, images, 5, "2GB").observed, rtol=1e-5)


def test_the_first_particles_are_those_of_a_smaller_number() -> None:
    x = MODEL.draw(10, SHAPE)
    vae = MODEL.vae(SHAPE, widen=1.5, cls=Recording)
    assert isinstance(vae, Recording)
    importance_bound(vae, x, 2)
    few = vae.decoded[-1]
    importance_bound(vae, x, 5)
    torch.testing.assert_close(vae.decoded[-1][:2], few)


def test_blocks_hold_the_latents_of_the_elbo(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 3, "normal", networks.MLP(hidden=8)).eval()
    with torch.no_grad():
        blocks = encoded(vae, few)
        scored = torch.cat([vae.decode(b.latent, b.x).log_prob(b.x) for b in blocks])
    torch.testing.assert_close(scored, elbo.held_out_terms(vae, few).reconstruction)


@pytest.mark.parametrize("k", [0, -3, 1.5, True, "5"], ids=str)
def test_particles_must_be_a_positive_integer(k: Any) -> None:
    with pytest.raises(InputError, match="iwae must be a positive integer"):
        evaluate(MODEL.vae(SHAPE), torch.zeros(3, 6), iwae=k)


@pytest.mark.parametrize("budget", ["much", "-1MB", "0", "5 XB", ""])
def test_a_budget_must_be_a_size(budget: str) -> None:
    with pytest.raises(InputError, match="memory-budget must be a size such as 512MB"):
        evaluate(MODEL.vae(SHAPE), torch.zeros(3, 6), memory_budget=budget)


def test_a_budget_below_one_image_says_how_much_that_takes() -> None:
    with pytest.raises(InputError, match=r"must be at least .*MB, what one image takes"):
        importance_bound(MODEL.vae(SHAPE), torch.zeros(3, 6), 2, "10B")


def test_sizes() -> None:
    sizes: list[str | int] = ["7", "7B", "1.5KB", "2 mb", "3GB", 9]
    assert [bytes_of(size) for size in sizes] == [7, 7, 1500, 2_000_000, 3_000_000_000, 9]


@pytest.mark.parametrize("interval", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)], ids=str)
@pytest.mark.parametrize(
    ("family", "reference"), [(dist.Normal, norm), (dist.Cauchy, cauchy)], ids=["normal", "cauchy"]
)
def test_levels_masses_are_differences_of_the_cdf(
    family: Any, reference: Any, interval: tuple[float, float]
) -> None:
    low, high = interval
    loc, scale = low + 0.3 * (high - low), 0.2 * (high - low)
    head = Head.of(family, loc=Param(link="identity"), scale=scale).replace(interval=interval)
    vae = constant_vae((256,), head, loc)
    levels = torch.arange(256, dtype=torch.uint8).expand(2, -1)
    found = log_level_mass(vae, vae.decode(torch.zeros(2, 1)), levels)
    edges = low + (high - low) * np.arange(257) / 256
    expected = np.log(np.diff(reference(loc, scale).cdf(edges))).sum()
    assert found is not None
    np.testing.assert_allclose(found.detach(), [expected] * 2, rtol=1e-5)


def test_no_mass_without_a_cdf() -> None:
    vae = constant_vae((4,), "student-t")
    levels = torch.zeros(2, 4, dtype=torch.uint8)
    assert log_level_mass(vae, vae.decode(torch.zeros(2, 1)), levels) is None
    scores = evaluate(vae, levels, parts=())
    assert scores["mass_bits_per_dim"] is None
    assert scores["bits_per_dim"] is not None


@pytest.mark.parametrize("name", DENSITIES)
def test_dequantised_levels_score_above_the_exact_mass_on_average(name: str) -> None:
    """Jensen's inequality, with the average over the noise taken at 64 points of each bin."""
    vae = constant_vae((8,), CASES[name](), 0.7)
    levels = torch.tensor([[0, 1, 30, 100, 128, 200, 254, 255]], dtype=torch.uint8)
    low, high = vae.obs.interval
    p = vae.decode(torch.zeros(1, 1))
    mass = log_level_mass(vae, p, levels)
    assert mass is not None
    mass = mass.detach()
    noise = (torch.arange(64) + 0.5) / 64
    x = vae.levels.observe(levels.expand(64, -1), noise[:, None].expand(64, 8), (low, high))
    density = float(vae.decode(torch.zeros(64, 1)).log_prob(x).mean().detach())
    dims = 8
    dequantised = elbo.bits_per_dim(density, "density", "dequantised", dims, (low, high))
    exact = elbo.bits_per_dim(float(mass), "mass", "dequantised", dims, (low, high))
    assert dequantised > exact - 1e-5


def test_a_steep_density_loses_bits_by_noise() -> None:
    head = observations.get("normal", scale=0.001, loc=Param(link="identity"))
    vae = constant_vae((4,), head, 100.5 / 256)
    scores = evaluate(vae, torch.full((2000, 4), 100, dtype=torch.uint8), parts=())
    # All mass lies in one bin; a uniform x in it costs log(σ √2π e^(1/24 (1/(256σ))²)).
    width = 1 / 256
    noise = math.log(0.001 * math.sqrt(2 * math.pi)) + width**2 / 24 / 0.001**2
    assert scores["mass_bits_per_dim"] == pytest.approx(
        -math.log2(norm.cdf(1.953) * 2 - 1), abs=0.01
    )
    # A pixel's bits are .82 off: of 8,000, one seed in 100,000 fails.
    assert scores["bits_per_dim"] == pytest.approx(noise / math.log(2) + 8, abs=0.041)
    assert scores["bits_per_dim"] > scores["mass_bits_per_dim"] + 0.15


def test_a_uniform_mass_has_eight_bits() -> None:
    vae = constant_vae((1, 4, 4), "categorical")
    with torch.no_grad():
        for parameter in vae.likelihood.parameters():
            parameter.zero_()
    images = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8)
    scores = evaluate(vae, images, iwae=3, parts=())
    assert scores["bits_per_dim"] == pytest.approx(8, rel=1e-5)
    assert scores["iwae"]["bits_per_dim"] == pytest.approx(8, rel=1e-5)
    assert scores["uniform_bits_per_dim"] == 8
    assert scores["iwae"]["standard_error"] == pytest.approx(0, abs=1e-5)


def test_how_far_weights_can_be_relied_on() -> None:
    """Of the exact posterior all weights are alike; of one too narrow the tail is heavy.

    In one dimension, q of σ = s for a posterior of 1 has k = 1 − s² (Vehtari et al. 2024): .84 at
    s = .4, of which 1,000 draws find somewhat less, and none above 0 at s = 1.5.
    """
    model = Linear.random(1, 1, 0.5)
    x = model.draw(100, (1,))
    exact = evaluate(model.vae((1,)), x, iwae=1000, parts=())["iwae"]
    assert exact["effective_size"] == pytest.approx(1000, rel=1e-4)
    assert exact["unreliable"] == 0
    narrow = evaluate(model.vae((1,), widen=0.4), x, iwae=1000, parts=())["iwae"]
    assert 0.6 < narrow["pareto_shape"] < 0.95
    assert narrow["unreliable"] > 0.3
    assert narrow["effective_size"] < 700
    wide = evaluate(model.vae((1,), widen=1.5), x, iwae=1000, parts=())["iwae"]
    assert wide["pareto_shape"] < 0.3
    # The mean of w² is s² / √(2 s² − 1) for weights of mean 1.
    assert wide["effective_size"] == pytest.approx(1000 * math.sqrt(3.5) / 2.25, rel=0.02)
