"""Masses on 256 levels against the densities that they come from."""

from __future__ import annotations

import math

import pytest
import torch

from pyro_vae import Param, observations

PAIRS = {
    "discretized-normal": "normal-learned-sigma",
    "discretized-truncated-normal": "truncated-normal",
    "discretized-laplace": "laplace",
    "discretized-continuous-bernoulli": "continuous-bernoulli",
    "discretized-kumaraswamy": "kumaraswamy",
    "discretized-beta": "beta",
}
LEVEL_FAMILIES = [n for n, entry in observations.TABLE.items() if entry.group == "levels"]


def test_there_are_level_families() -> None:
    assert len(LEVEL_FAMILIES) >= 10


@pytest.mark.parametrize("name", PAIRS)
def test_a_mass_scores_below_its_dequantised_density(name: str) -> None:
    """Jensen: the log of a bin's mean density is above the mean of its log."""
    scale = {"scale": Param("pixel", floor=1e-3)}
    changes = scale if "scale" in dict(observations.get(PAIRS[name]).parameters) else {}
    density = observations.get(PAIRS[name], **changes).build((256,)).double()
    mass = observations.get(name, **changes).build((256,)).double()
    assert density.numbers == mass.numbers
    raw = 2 * torch.randn(40, mass.numbers, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)
    noise = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    with torch.no_grad():
        by_mass = mass(raw).base_dist.log_prob(levels)
        x = (levels + noise[:, None, None]) / 256
        by_density = density(raw).base_dist.log_prob(x).mean(0) - math.log(256)
    # 64 points of noise are a quadrature, which a narrow density can slip through.
    assert (by_mass >= by_density - 0.05).all()
    assert by_mass.mean() > by_density.mean()


@pytest.mark.parametrize("name", LEVEL_FAMILIES)
def test_masses_sum_to_one_in_single_precision(name: str) -> None:
    head = observations.get(name).build((1,))
    raw = torch.cat([torch.randn(200, head.numbers), 20 * torch.randn(200, head.numbers)])
    levels = torch.arange(256.0)[:, None, None]
    with torch.no_grad():
        total = head(raw).base_dist.log_prob(levels).double().exp().sum(0)
    assert total.shape == (400, 1)
    assert (total - 1).abs().max() < 1e-6
