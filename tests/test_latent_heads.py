"""Heads of latent sites with a context: p(z|c) of covariates, and what each level of z has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy.stats import multivariate_normal
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import VAE, Head, InputError, Param
from pyro_vae.training.compiling import Compiled
from pyro_vae.training.train_step import TrainStep

D, L, C, SIGMA, FLOOR = 5, 2, 3, 0.5, 1e-4
HEAD = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")
REAL = Param(link="identity")
HEADS: dict[str, Any] = {
    "diagonal": "diagonal",
    "full": "full",
    "iaf": "iaf",
    "coupling": "coupling",
    "a head of one's own": Head.of(dist.StudentT, df=5.0, loc=REAL, scale="pixel"),
    "of the units alone": Head.of(
        dist.Normal, loc=Param("dimension", link="identity"), scale=Param("dimension")
    ),
}


class Joined(nn.Module):
    """A linear network of two arguments, and linear raw numbers of p(z|c)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear, self.told = nn.Linear(width, out), nn.Linear(C, 2 * L)

    def forward(self, x: Tensor, covariates: Tensor) -> Tensor:
        found: Tensor = self.linear(torch.cat([x, covariates], 1))
        return found

    def prior(self, level: int, context: Tensor) -> Tensor:
        assert level == 0
        found: Tensor = self.told(context)
        return found


def raw_of(scale: Any) -> np.ndarray:
    return np.log(np.expm1(np.asarray(scale) - FLOOR))


def exact() -> tuple[VAE, np.ndarray, np.ndarray, np.ndarray]:
    """z|c ~ N(A c, diag s²), x|z, c ~ N(W z + B c, ½²), the posterior set by hand.

    W's columns are orthogonal, so that q(z|x, c) has independent units.
    """
    rng = np.random.default_rng(0)
    w = np.linalg.qr(rng.normal(size=(D, L)))[0] * np.array([1.5, 0.7])
    a, b, s = rng.normal(size=(L, C)), rng.normal(size=(D, C)), np.array([0.6, 1.7])
    precision = s**-2 + (w**2).sum(0) / SIGMA**2
    of_x = w.T / SIGMA**2 / precision[:, None]
    of_c = a / s[:, None] ** 2 / precision[:, None] - of_x @ b
    net = (Joined(D + C, 2 * L), Joined(L + C, D))
    vae = VAE((D,), L, HEAD, net, prior="diagonal", covariates=C)
    weights = {
        "encoder.linear.weight": np.vstack([np.hstack([of_x, of_c]), np.zeros((L, D + C))]),
        "encoder.linear.bias": np.concatenate([np.zeros(L), raw_of(precision**-0.5)]),
        "decoder.linear.weight": np.hstack([w, b]),
        "decoder.linear.bias": np.zeros(D),
        "decoder.told.weight": np.vstack([a, np.zeros((L, C))]),
        "decoder.told.bias": np.concatenate([np.zeros(L), raw_of(s)]),
    }
    vae.load_state_dict({key: torch.tensor(value) for key, value in weights.items()}, strict=False)
    return vae, a, w @ a + b, (w * s**2) @ w.T + SIGMA**2 * np.eye(D)


def test_with_the_exact_posterior_the_bound_is_log_p_of_x_given_c() -> None:
    vae, _, mean, cov = exact()
    generator = torch.Generator().manual_seed(0)
    noise, c = (torch.randn(300, n, generator=generator) for n in (D, C))
    x = noise + c @ torch.tensor(mean, dtype=torch.float32).T
    wanted = multivariate_normal(np.zeros(D), cov).logpdf(x.numpy() - c.numpy() @ mean.T)
    scores = pv.evaluate(vae, x, covariates=c, iwae=3)
    # Its KL is the expected one, its reconstruction of one draw: half a chi-square of L, 1 nat an
    # image; 4.5 standard errors of 300.
    assert scores["elbo"] == pytest.approx(wanted.mean(), abs=4.5 / math.sqrt(300))
    # Sums of some 10 float32 terms of the order of 10 nats each.
    assert scores["iwae"]["bound"] == pytest.approx(wanted.mean(), abs=1e-5)


TOLD = torch.tensor([0.5, -1.0, 2.0])


@pytest.mark.parametrize("given", [TOLD, TOLD[None], TOLD.expand(4000, C)], ids=["c", "1c", "nc"])
def test_latents_are_drawn_of_what_is_told(given: Tensor) -> None:
    vae, a, _, _ = exact()
    torch.manual_seed(0)
    z = vae.sample_latent(4000, given)
    # 5 standard errors of each mean.
    wanted = torch.tensor(a @ TOLD.numpy(), dtype=torch.float32)
    assert ((z.mean(0) - wanted).abs() < 5 * torch.tensor([0.6, 1.7]) / 4000**0.5).all()


def test_pictures_are_drawn_of_what_is_told() -> None:
    vae, _, mean, cov = exact()
    torch.manual_seed(0)
    c = TOLD
    x = vae.model(size=4000, covariates=c.expand(4000, C))
    far = (x.detach().mean(0).numpy() - mean @ c.numpy()) / np.sqrt(np.diag(cov) / 4000)
    assert np.abs(far).max() < 5


def made(net: str = "mlp", **options: Any) -> VAE:
    torch.manual_seed(0)
    dims = (3, 2) if net == "ladder" else 3
    return VAE((1, 8, 8), dims, "bernoulli", net, covariates=C, **options)


def batch(n: int = 6) -> pv.data.Batch:
    generator = torch.Generator().manual_seed(1)
    covariates = torch.eye(C)[torch.arange(n) % C]
    return pv.data.Batch(torch.rand(n, 1, 8, 8, generator=generator).round(), covariates)


@pytest.mark.parametrize("net", ["mlp", "conv", "ladder"])
@pytest.mark.parametrize("prior", HEADS)
def test_any_head_is_a_prior_in_any_network(net: str, prior: str) -> None:
    vae, few = made(net, prior=HEADS[prior]), batch()
    told = prior != "of the units alone"
    assert bool(vae.prior_numbers) == told
    guide = poutine.trace(vae.guide).get_trace(few)
    trace = poutine.trace(poutine.replay(vae.model, guide)).get_trace(few)
    trace.compute_log_prob()
    sites = [name for name in trace.nodes if name.startswith("latent")]
    z = guide.nodes["_RETURN"]["value"]
    # The joint distribution is the product of the sites' own.
    total = sum(trace.nodes[name]["log_prob"] for name in sites)
    assert len(sites) == (2 if net == "ladder" else 1)
    torch.testing.assert_close(vae.prior(few.covariates).log_prob(z), total)
    top = vae.prior(few.covariates)
    top = top.top if net == "ladder" else top
    found = top.log_prob(torch.full((3, 2 if net == "ladder" else 3), 0.3)) if not told else None
    assert found is None or found.unique().numel() == 1
    loss, _ = TrainStep(vae, pv.objectives.TraceELBO(), "float32")(few, torch.tensor(1.0))
    loss.backward()
    assert all(p.grad is not None for p in vae.latent_prior.parameters())
    assert vae.sample(6, covariates=few.covariates).shape == (6, 1, 8, 8)


def test_a_compiled_step_is_the_step() -> None:
    vae, few = made("ladder", prior=["full", "coupling"], posterior=["diagonal", "full"]), batch(7)
    program = TrainStep(vae, pv.objectives.TraceELBO(), "float32")
    beta, share = torch.tensor(0.7), torch.tensor(1 / 7)
    torch.manual_seed(5)
    graph = Compiled(program, list(vae.parameters()), "aten")
    sums, _ = graph.add_gradients(few, beta, share)
    found = [p.grad.clone() for p in vae.parameters() if p.grad is not None]
    vae.zero_grad()
    torch.manual_seed(5)
    loss, wanted = program(vae.observe(few), beta)
    (loss * share).backward()
    torch.testing.assert_close(sums, wanted, rtol=1e-4, atol=1e-4)
    gradients = [p.grad for p in vae.parameters() if p.grad is not None]
    assert len(found) == len(gradients) == len(list(vae.parameters()))
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_each_latent_has_what_was_given_for_it(tmp_path: Path) -> None:
    own = lambda latent_dim: pv.posteriors.make("full", latent_dim)  # noqa: E731
    options = {"prior": ["full", "coupling:1"], "posterior": ["full", "diagonal"]}
    vae = made("ladder", **options)
    kinds = [type(head).__name__ for head in (vae.lower[0].posterior, vae.posterior)]
    assert kinds == ["BuiltHead", "BuiltHead"]
    assert vae.lower[0].posterior.numbers == 3 + 9  # a mean and a Cholesky factor
    assert vae.posterior.numbers == 2 * 2
    pv.save(vae, tmp_path / "run")
    again = pv.load(tmp_path / "run")
    assert again.prior_spec == (
        {"name": "full"},
        {"name": "coupling", "steps": 1, "hidden": 128},
    )
    assert again.posterior_spec == ({"name": "full"}, {"name": "diagonal"})
    few = batch()
    assert torch.equal(
        again.encode(few).log_prob(torch.zeros(5)), vae.encode(few).log_prob(torch.zeros(5))
    )
    mixed = made("ladder", prior=[own, "diagonal"])
    pv.save(mixed, tmp_path / "mixed")
    with pytest.raises(InputError, match="prior"):
        pv.load(tmp_path / "mixed")
    assert pv.load(tmp_path / "mixed", prior=[own, "diagonal"]).prior_spec == (
        None,
        {"name": "diagonal"},
    )


COMMANDS = {
    "p(z|c)": ("--prior", "full", "--posterior", "full", "--latent-dim", 2),
    "of each latent": (
        *("--net", "ladder", "--latent-dim", "3,2"),
        *("--prior", "coupling:1,diagonal", "--posterior", "diagonal,full"),
    ),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_takes_them(run_cli: Callable[..., str], kind: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    size = ("--condition", "labels", "--images", 200, "--hidden", 16, "--epochs", 1)
    run_cli("fit", *size, *COMMANDS[kind], "--out", run)
    scores = json.loads(run_cli("evaluate", run, "--iwae", 2, "--json"))
    assert math.isfinite(scores["elbo"])
    run_cli("sample", run, "--condition", "3,5")
    run_cli("reconstruct", run)
    assert json.loads(run_cli("diagnose", run, "--json"))["verdict"]
    run_cli("report", run, "--out", tmp_path / "report.html")
    assert pv.load(run).prior_numbers > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prior", "diagonal"), "prior diagonal is made of what is known of each image"),
        (
            ("--prior", "diagonal,diagonal", "--condition", "labels"),
            "prior must be one, or one for each latent, 1; got 2",
        ),
        (
            ("--latent-dim", "3,2", "--net", "ladder", "--prior", "vamp:3,diagonal-normal"),
            "prior of latent.1 must be made of the latent above it",
        ),
        (
            ("--latent-dim", "3,2", "--net", "ladder", "--posterior", "full,full,full"),
            "posterior must be one, or one for each latent, 2; got 3",
        ),
        (
            ("--latent-dim", "3,2", "--net", "ladder", "--posterior", "full,ful"),
            "did you mean 'full'",
        ),
    ],
)
def test_mistakes_are_told(mistake: Callable[..., str], words: tuple[str, ...], said: str) -> None:
    told = mistake("fit", "--images", 20, "--out", "run", *words)
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_networks_without_the_port_and_posteriors_of_nothing_are_refused() -> None:
    bare = (nn.Linear(D, 2 * L), nn.Linear(L, D))
    with pytest.raises(InputError, match=r"decoder's port prior\(level, context\)"):
        VAE((D,), L, HEAD, bare, prior="diagonal", covariates=C)
    with pytest.raises(InputError, match="no numbers of the encoder's"):
        VAE((D,), L, HEAD, bare, posterior=HEADS["of the units alone"])
    vae, *_ = exact()
    with pytest.raises(InputError, match="give prior\\(covariates\\)"):
        vae.prior()
