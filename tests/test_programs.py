"""Pairs of Pyro programs that nobody wrote for this library: after the examples of Pyro's pages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.importance import psis_diagnostic
from pyro.optim import Adam
from scipy.stats import genpareto
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.metrics.reliability import pareto_shape

N, PIXELS, LATENTS = 120, 16, 3


class Replayed(dist.Normal):  # type: ignore[misc]
    """A normal whose noise is given, so that whoever draws from it draws the same."""

    def __init__(self, loc: Tensor, scale: Tensor, noise: Tensor) -> None:
        super().__init__(*torch.broadcast_tensors(loc, scale, noise)[:2])
        self.noise = noise

    def expand(self, batch_shape: Any, _instance: Any = None) -> Replayed:
        shape = torch.Size(batch_shape)
        return Replayed(self.loc.expand(shape), self.scale.expand(shape), self.noise)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc + self.scale * self.noise


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, outputs))


class Example(nn.Module):
    """The VAE of Pyro's tutorial: Bernoulli pixels, sites ``latent`` and ``obs``."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.decoder = network(PIXELS, 2 * LATENTS), network(LATENTS, PIXELS)
        self.beta = beta

    def model(self, x: Tensor, noise: Tensor | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=self.beta):
                z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), LATENTS), 1).to_event(1))
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor, noise: Tensor | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)), poutine.scale(scale=self.beta):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            q = dist.Normal(loc, log_scale.exp())
            if noise is not None:
                q = Replayed(loc, log_scale.exp(), noise)
            pyro.sample("latent", q.to_event(1))


class Conditional(nn.Module):
    """The conditional VAE of Pyro's examples: p(z|x), p(y|x, z) and q(z|x, y)."""

    def __init__(self) -> None:
        super().__init__()
        self.prior_net, self.recognition = network(8, 2 * LATENTS), network(16, 2 * LATENTS)
        self.generation = network(8 + LATENTS, 8)

    def model(self, x: Tensor, y: Tensor, noise: Tensor) -> None:
        pyro.module("conditional", self)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.prior_net(x).chunk(2, -1)
            z = pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
            logits = self.generation(torch.cat([x.expand(*z.shape[:-1], -1), z], -1))
            pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    def guide(self, x: Tensor, y: Tensor, noise: Tensor) -> None:
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.recognition(torch.cat([x, y], -1)).chunk(2, -1)
            q = Replayed(loc, log_scale.exp(), noise) if noise.numel() else dist.Normal(loc, 1.0)
            pyro.sample("z", q.to_event(1))


class Markov(nn.Module):
    """A deep Markov model: a latent and an observation for each time, padding masked."""

    times = 3

    def __init__(self) -> None:
        super().__init__()
        self.transition, self.emission = network(LATENTS, 2 * LATENTS), network(LATENTS, 4)
        self.combiner = network(LATENTS + 4, 2 * LATENTS)

    def model(self, x: Tensor, lengths: Tensor, noise: Tensor) -> None:
        pyro.module("markov", self)
        z: Any = torch.zeros(LATENTS)
        with pyro.plate("sequences", len(x)):
            for t in range(self.times):
                loc, log_scale = self.transition(z).chunk(2, -1)
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t}", dist.Normal(loc, log_scale.exp()).to_event(1))
                    p = dist.Bernoulli(logits=self.emission(z)).to_event(1)
                    pyro.sample(f"obs_x_{t}", p, obs=x[:, t])

    def guide(self, x: Tensor, lengths: Tensor, noise: Tensor) -> None:
        z: Any = torch.zeros(len(x), LATENTS)
        with pyro.plate("sequences", len(x)):
            for t in range(self.times):
                seen = torch.cat([z, x[:, t].expand(*z.shape[:-1], -1)], -1)
                loc, log_scale = self.combiner(seen).chunk(2, -1)
                q = Replayed(loc, log_scale.exp(), noise[:, t])
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t}", q.to_event(1))


def example() -> tuple[Any, tuple[Any, ...]]:
    return Example(), ((torch.rand(N, PIXELS) < 0.4).float(), torch.randn(N, LATENTS))


def conditional() -> tuple[Any, tuple[Any, ...]]:
    x, y = (torch.rand(2, N, 8) < 0.5).float()
    return Conditional(), (x, y, torch.randn(N, LATENTS))


def markov() -> tuple[Any, tuple[Any, ...]]:
    x = (torch.rand(N, 3, 4) < 0.5).float()
    return Markov(), (x, torch.randint(1, 4, (N,)), torch.randn(N, 3, LATENTS))


PROGRAMS = {"example": example, "conditional": conditional, "markov": markov}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch.manual_seed(0)
    pyro.clear_param_store()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_elbo_is_that_of_pyro_on_the_same_noise(name: str) -> None:
    programs, data = PROGRAMS[name]()
    scores = pv.evaluate((programs.model, programs.guide), data)
    theirs = -Trace_ELBO().loss(programs.model, programs.guide, *data) / N
    assert scores["elbo"] == pytest.approx(theirs, rel=1e-5)
    assert scores["reconstruction"] - scores["kl"] == pytest.approx(scores["elbo"], rel=1e-6)
    assert scores["images"] == N


def test_the_sites_of_a_markov_model_are_scored_one_by_one() -> None:
    """The KL of each time against numpy's formula, padding left out."""
    programs, data = markov()
    x, lengths, noise = data
    scores = pv.evaluate((programs.model, programs.guide), data)
    z = torch.zeros(N, LATENTS)
    for t in range(3):
        a, b = (v.detach().double().numpy() for v in programs.transition(z).chunk(2, -1))
        loc, log_scale = programs.combiner(torch.cat([z, x[:, t]], -1)).chunk(2, -1)
        m, s = loc.detach().double().numpy(), log_scale.detach().double().numpy()
        kl = 0.5 * (np.exp(2 * (s - b)) + (m - a) ** 2 / np.exp(2 * b) - 1) + b - s
        wanted = np.where((lengths > t).numpy()[:, None], kl, 0).sum(1).mean()
        assert scores["sites"][f"z_{t}"]["kl"] == pytest.approx(wanted, rel=1e-5)
        z = loc + log_scale.exp() * noise[:, t]
    assert list(scores["sites"])[3:] == ["z_0", "z_1", "z_2"]
    assert len(scores["kl_per_latent"]) == 9


@pytest.mark.parametrize(("beta", "verdict"), [(1.0, "not-collapsed"), (300.0, "collapsed")])
def test_a_beta_that_collapses_is_diagnosed(beta: float, verdict: str) -> None:
    programs = Example(beta)
    pattern = (torch.rand(4, PIXELS) < 0.5).float()
    x = pattern[torch.randint(0, 4, (N,))]
    svi = SVI(programs.model, programs.guide, Adam({"lr": 0.02}), Trace_ELBO())
    for _ in range(400):
        svi.step(x)
    found = pv.diagnose((programs.model, programs.guide), x)
    assert found.verdict == verdict
    assert found.weights["latent"] == pytest.approx((beta, beta))
    assert [cause.code for cause in found.causes] == ["beta-too-large"] * (beta > 1)
    # At β = 1 whatever the programs scale by.
    plain = Example()
    plain.load_state_dict(programs.state_dict())
    again = pv.evaluate((plain.model, plain.guide), x)
    assert found.scores["elbo"] == pytest.approx(again["elbo"], rel=1e-5)


def test_a_scale_on_one_side_is_named() -> None:
    whole, half = Example(4.0), Example(1.0)
    half.load_state_dict(whole.state_dict())
    found = pv.diagnose((whole.model, half.guide), example()[1][0])
    assert "scaled-on-one-side" in [cause.code for cause in found.causes]
    assert found.weights["latent"] == pytest.approx((4.0, 1.0))


class Linear:
    """p(z) p(x|z) and a guide whose σ is ``wide`` times the exact posterior's."""

    def __init__(self, wide: float) -> None:
        self.wide = wide

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, self.wide * math.sqrt(0.5)))


def test_the_bound_of_the_exact_posterior_is_the_evidence() -> None:
    x = torch.randn(300)
    scores = pv.evaluate((Linear(1.0).model, Linear(1.0).guide), x, iwae=50)
    evidence = float(dist.Normal(0.0, math.sqrt(2)).log_prob(x).double().mean())
    assert scores["iwae"]["bound"] == pytest.approx(evidence, abs=1e-5)
    assert scores["elbo"] == pytest.approx(evidence, abs=1e-5)
    assert scores["iwae"]["effective_size"] == pytest.approx(50, rel=1e-4)
    assert scores["iwae"]["unreliable"] == 0


def test_a_guide_that_is_too_narrow_is_unreliable() -> None:
    """Weights of a proposal of a quarter of the width have no variance: k is 1 − ¼² = .94.

    It is that in the limit; among 2,000 draws the tail still looks a little lighter.
    """
    x = torch.randn(40)
    narrow, wide = (
        pv.evaluate((Linear(w).model, Linear(w).guide), x, iwae=2000)["iwae"] for w in (0.25, 1.3)
    )
    assert narrow["unreliable"] > 0.4
    assert 0.6 < narrow["pareto_shape"] < 1
    assert wide["unreliable"] == 0
    # E[w]² / E[w²] of a proposal w times as wide: √(2w² − 1) / w².
    assert wide["effective_size"] == pytest.approx(2000 * math.sqrt(2 * 1.69 - 1) / 1.69, rel=0.01)


@pytest.mark.parametrize("shape", [0.3, 0.9])
def test_the_shape_is_that_of_known_tails_and_of_pyro(shape: float) -> None:
    """Weights drawn from a generalised Pareto; within .12, four standard errors at 4,000 draws."""
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(genpareto(shape).rvs(20_000, random_state=rng))
    assert pareto_shape(weights.log()) == pytest.approx(shape, abs=0.12)


def test_pyros_own_diagnostic_agrees() -> None:
    """Medians over 40 images and 40 runs, whose errors are .03 each: one seed in 50,000 fails."""
    programs, x = Linear(0.5), torch.randn(40)
    options = {"num_particles": 2000, "max_plate_nesting": 1}
    theirs = [
        float(psis_diagnostic(programs.model, programs.guide, x[i : i + 1], **options))
        for i in range(40)
    ]
    ours = pv.evaluate((programs.model, programs.guide), x, iwae=2000)["iwae"]["pareto_shape"]
    assert ours == pytest.approx(np.median(theirs), abs=0.19)


def discrete(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        k = pyro.sample("which", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(k.float(), 1.0), obs=x)


def discrete_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("which", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})


@pytest.mark.parametrize("call", [pv.evaluate, pv.diagnose])
@pytest.mark.parametrize("guide", [discrete_guide, lambda x: None], ids=["sampled", "enumerated"])
def test_discrete_sites_are_refused_by_name(call: Any, guide: Any) -> None:
    with pytest.raises(pv.InputError, match="site 'which'"):
        call((discrete, guide), torch.randn(9))


@pytest.mark.parametrize("data", [3, torch.zeros(()), "digits", (), torch.zeros(0, 3)], ids=repr)
def test_data_without_rows_are_refused(data: Any) -> None:
    with pytest.raises(pv.InputError, match="data of a pair of programs"):
        pv.evaluate((discrete, discrete_guide), data)
