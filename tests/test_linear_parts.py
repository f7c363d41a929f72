"""Scores and gaps filled of several things, against models whose answers are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import bernoulli, multivariate_normal, norm, poisson
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import VAE, Head, Param
from pyro_vae.data import Batch, as_images
from pyro_vae.inference import impute_parts
from pyro_vae.noise import fixed_noise, noise

SIGMA, FLOOR, N = 0.5, 1e-4, 200
NORMAL = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")
WEIGHTS = {"a": np.diag([1.5, 0.7]), "b": np.eye(3)[:, [2, 0]] * np.array([-0.8, 1.2])}
"""Of each part (D, 2), its columns orthogonal, so that p(z|x) of any parts is diagonal."""


def exact(*known: str) -> VAE:
    """a, b|z ~ N(W z, ½²) with the posterior given the known parts set by hand."""
    w = np.vstack([*WEIGHTS.values()])
    seen = np.vstack([part * (name in known) for name, part in WEIGHTS.items()])
    precision = 1 + (seen**2).sum(0) / SIGMA**2
    gain = seen.T / SIGMA**2 / precision[:, None]
    parts: dict[str, Any] = {name: (len(part),) for name, part in WEIGHTS.items()}
    net = (nn.Linear(5, 4), nn.Linear(2, 5))
    vae = VAE(parts, 2, dict.fromkeys(parts, NORMAL), net)
    weights = {
        "encoder.weight": np.vstack([gain, np.zeros((2, 5))]),
        "encoder.bias": np.concatenate([np.zeros(2), np.log(np.expm1(precision**-0.5 - FLOOR))]),
        "decoder.weight": w,
        "decoder.bias": np.zeros(5),
    }
    vae.load_state_dict({key: torch.tensor(value) for key, value in weights.items()}, strict=False)
    return vae


def drawn() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(N, 2, generator=generator)
    return {
        name: z @ torch.tensor(w.T, dtype=torch.float32)
        + SIGMA * torch.randn(N, len(w), generator=generator)
        for name, w in WEIGHTS.items()
    }


def log_p(x: dict[str, Tensor]) -> float:
    """The mean log-density of some parts, which are jointly normal."""
    w = np.vstack([WEIGHTS[name] for name in x])
    values = torch.cat(list(x.values()), 1).numpy()
    cov = w @ w.T + SIGMA**2 * np.eye(len(w))
    return float(multivariate_normal(np.zeros(len(w)), cov).logpdf(values).mean())


def test_with_the_exact_posterior_the_bound_is_log_p_of_all_parts() -> None:
    x = drawn()
    scores = pv.evaluate(exact("a", "b"), x, iwae=3)
    # Sums of some 10 float32 terms of the order of 10 nats each; no draw has an error.
    assert scores["iwae"]["bound"] == pytest.approx(log_p(x), abs=1e-5)
    assert scores["elbo"] == pytest.approx(log_p(x), abs=1e-5)
    assert scores["iwae"]["effective_size"] == pytest.approx(3, abs=1e-3)
    # Another posterior than that of these data has a lower bound.
    assert pv.evaluate(exact("a"), x, iwae=3)["iwae"]["bound"] < log_p(x) - 0.01


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("how", ["left out", "gaps"])
def test_without_a_part_it_is_that_of_the_others(name: str, how: str) -> None:
    x = drawn()
    other = "b" if name == "a" else "a"
    given = {other: torch.full_like(x[other], math.nan)} if how == "gaps" else {}
    given[name] = x[name]
    scores = pv.evaluate(exact(name), given, iwae=3)
    assert scores["iwae"]["bound"] == pytest.approx(log_p({name: x[name]}), abs=1e-5)
    assert scores["elbo"] == pytest.approx(log_p({name: x[name]}), abs=1e-5)


KINDS = {
    "real": (NORMAL, lambda p, x: norm.logpdf(x, p, SIGMA)),
    "count": ("poisson", lambda p, x: poisson.logpmf(x, p)),
    "yes": (pv.observations.get("bernoulli", levels="binary"), lambda p, x: bernoulli.logpmf(x, p)),
}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_there_is_scored_and_nothing_else(seed: int) -> None:
    """At the latents that evaluation draws, scipy's log-probabilities of the entries there."""
    generator = torch.Generator().manual_seed(seed)
    heads: Any = {name: head for name, (head, _) in KINDS.items()}
    vae = VAE(dict.fromkeys(heads, (2,)), 2, heads, pv.networks.MLP(hidden=4))
    values = {
        "real": torch.randn(30, 2, generator=generator),
        "count": torch.randint(0, 9, (30, 2), generator=generator).float(),
        "yes": torch.randint(0, 2, (30, 2), generator=generator).float(),
    }
    there = {name: torch.rand(30, 2, generator=generator) < 0.7 for name in values}
    given = {name: x.where(there[name], torch.nan) for name, x in values.items()}
    scores = pv.evaluate(vae, given)
    batch = as_images(given)
    with torch.no_grad():
        with fixed_noise(noise("programs", 0, 0), torch.device("cpu")):
            z = vae.encode(batch).rsample()
        means = {name: p.mean.numpy() for name, p in vae.decode(z).items()}
    total = 0.0
    for name, (_, log_prob) in KINDS.items():
        each = log_prob(means[name], values[name].numpy())
        wanted = np.where(there[name].numpy(), each, 0).sum(1).mean()
        found = scores["sites"][f"obs.{name}"]["reconstruction"]
        assert found == pytest.approx(wanted, rel=1e-4)
        total += wanted
    assert scores["reconstruction"] == pytest.approx(total, rel=1e-4)


def test_gaps_are_filled_by_the_conditional_mean() -> None:
    """E[b|a] = W_b E[z|a], and what was observed as it is."""
    draws, x = 4000, drawn()
    a, count = x["a"].double().numpy(), 20
    batch = Batch({"a": x["a"][:count]})
    found = impute_parts(exact("a"), batch, draws=draws, seed=3)
    assert torch.equal(found["a"], x["a"][:count])
    precision = 1 + (WEIGHTS["a"] ** 2).sum(0) / SIGMA**2
    mean = a[:count] @ WEIGHTS["a"] / SIGMA**2 / precision @ WEIGHTS["b"].T
    # 4.5 standard errors of a mean of draws, and float32.
    error = np.sqrt((WEIGHTS["b"] ** 2 / precision).sum(1) / draws)
    assert np.all(np.abs(found["b"].numpy() - mean) <= 4.5 * error + 1e-6)
    assert np.abs(mean).max() > 20 * error.max()
    # Some rows of b are known: they stay, the others do not change for that.
    b, mask = x["b"][:count].clone(), torch.zeros(count, 3, dtype=torch.bool)
    mask[::2, 1] = True
    batch = Batch({"a": x["a"][:count], "b": b}, mask={"b": mask})
    again = impute_parts(exact("a"), batch, draws=draws, seed=3)
    assert torch.equal(again["b"][mask], b[mask])
    torch.testing.assert_close(again["b"][~mask], found["b"][~mask])


def test_gaps_of_whole_numbers_are_filled_by_such() -> None:
    """A count by that next to its mean; of 0 and 1 the mean is the probability of 1."""
    heads: Any = {"count": "poisson", "yes": pv.observations.get("bernoulli", levels="binary")}
    vae = VAE(dict.fromkeys(heads, (1,)), 1, heads, (nn.Linear(2, 2), nn.Linear(1, 2)))
    with torch.no_grad():
        for p in vae.parameters():
            p.zero_()
        vae.decoder.bias[:] = torch.tensor([2.7, 2.0])
        mean = float(vae.decode(torch.zeros(1, 1))["count"].mean)
    assert mean != round(mean)
    gaps = {"count": torch.full((4, 1), math.nan), "yes": torch.full((4, 1), math.nan)}
    found = impute_parts(vae, as_images(gaps), draws=3)
    assert found["count"].tolist() == [[round(mean)]] * 4
    assert found["yes"].flatten().tolist() == pytest.approx([1 / (1 + math.exp(-2))] * 4)
