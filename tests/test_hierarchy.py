"""Hierarchies: several latents, generated and inferred from the top down."""

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
from click.testing import Result
from pyro.infer import Trace_ELBO
from scipy.stats import multivariate_normal
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import VAE, Head, InputError, Param, networks
from pyro_vae.distributions.chain import Chain
from pyro_vae.metrics import importance_bound
from pyro_vae.objectives import FreeBitsELBO

HEAD = Head.of(dist.Normal, loc=Param(link="identity"), scale=0.5, levels="real")
D, FLOOR = 4, 1e-4


class Exact:
    """z2 ~ N(0, 1), z1|z2 ~ N(a z2 + b, s²) of two numbers, x|z1 ~ N(W z1 + c, ½²), in numpy."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.a, self.b, self.s = rng.normal(size=(2, 1)), rng.normal(size=2), 0.8
        self.w, self.c = rng.normal(size=(D, 2)), rng.normal(size=D)
        self.mean1, self.cov1 = self.b, self.a @ self.a.T + self.s**2 * np.eye(2)
        self.cov = self.w @ self.cov1 @ self.w.T + 0.25 * np.eye(D)
        self.mean = self.w @ self.mean1 + self.c

    def log_evidence(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(multivariate_normal(self.mean, self.cov).logpdf(x))

    def posterior2(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Slope and offset of E[z2|x], and its variance."""
        wa = self.w @ self.a
        gain = (wa.T @ np.linalg.inv(self.cov)).reshape(1, D)
        return gain, -gain @ self.mean, 1 - float((gain @ wa).item())

    def posterior1(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Slopes by x and by z2, offset and covariance of z1 given both."""
        precision = self.w.T @ self.w / 0.25 + np.eye(2) / self.s**2
        cov = np.linalg.inv(precision)
        by_x, by_z2 = cov @ self.w.T / 0.25, cov @ self.a / self.s**2
        return by_x, by_z2, cov @ (self.b / self.s**2 - self.w.T @ self.c / 0.25), cov


def raw_of(scale: float) -> float:
    """What softplus plus the floor makes this of."""
    return math.log(math.expm1(scale - FLOOR))


class Encoder(nn.Module):
    """Features are x itself, then the topmost posterior's numbers."""

    def __init__(self, model: Exact) -> None:
        super().__init__()
        self.exact = model

    def forward(self, x: Tensor) -> Tensor:
        gain, offset, variance = self.exact.posterior2()
        loc = x @ torch.tensor(gain).T + torch.tensor(offset)
        return torch.cat([x, loc, torch.full_like(loc, raw_of(math.sqrt(variance)))], -1)

    def posterior(self, level: int, features: Tensor, above: Tensor) -> Tensor:
        x = features[..., :D]
        by_x, by_z2, offset, cov = (torch.tensor(part) for part in self.exact.posterior1())
        loc = x @ by_x.T + above @ by_z2.T + offset
        factor = torch.linalg.cholesky(cov)
        square = torch.zeros(2, 2, dtype=loc.dtype)
        square[1, 0] = factor[1, 0]
        square[[0, 1], [0, 1]] = torch.tensor([raw_of(float(s)) for s in factor.diag()]).to(loc)
        return torch.cat([loc, square.flatten().expand(*loc.shape[:-1], 4)], -1)


class Decoder(nn.Module):
    def __init__(self, model: Exact) -> None:
        super().__init__()
        self.exact = model

    def forward(self, z: Tensor) -> Tensor:
        return z @ torch.tensor(self.exact.w).T + torch.tensor(self.exact.c)

    def prior(self, level: int, above: Tensor) -> Tensor:
        loc = above @ torch.tensor(self.exact.a).T + torch.tensor(self.exact.b)
        return torch.cat([loc, torch.full_like(loc, raw_of(self.exact.s))], -1)


def exact_vae() -> tuple[Exact, VAE]:
    model = Exact()
    pair = Encoder(model), Decoder(model)
    return model, VAE((D,), (2, 1), HEAD, pair, posterior="full").double()


@pytest.fixture
def x(float64: None) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(60, D) * 2


def test_with_the_exact_posterior_every_draw_is_the_evidence(x: Tensor) -> None:
    model, vae = exact_vae()
    wanted = model.log_evidence(x.numpy())
    for seed in range(5):
        torch.manual_seed(seed)
        loss = Trace_ELBO().differentiable_loss(vae.model, vae.guide, x)
        assert float(loss) == pytest.approx(-wanted.sum(), abs=1e-8 * len(x))
    bound = importance_bound(vae, x, 3).observed.numpy()
    np.testing.assert_allclose(bound, wanted, atol=1e-8)


def test_the_bound_stays_below_the_evidence(x: Tensor) -> None:
    """With a posterior that ignores x; within 4 standard errors of 60 images."""
    model = Exact()
    wide = VAE((D,), (2, 1), HEAD, (Encoder(model), Decoder(model))).double()

    def posterior(level: int, features: Tensor, above: Tensor) -> Tensor:
        raw = Encoder(model).posterior(level, features, above)
        return torch.cat([raw[..., :2], torch.full_like(raw[..., :2], raw_of(0.6))], -1)

    wide.encoder.posterior = posterior  # type: ignore[union-attr, assignment]
    few, many = (importance_bound(wide, x, k).observed.numpy() for k in (1, 300))
    wanted = model.log_evidence(x.numpy())
    assert (wanted - few).mean() > 0.1
    gap = wanted - many
    assert gap.mean() > -4 * gap.std() / math.sqrt(len(gap))
    assert abs(gap.mean()) < 0.3 * (wanted - few).mean()


def test_the_joint_distributions_are_those_of_the_sites(x: Tensor) -> None:
    """encode and prior against numpy's joint normals of (z1, z2)."""
    model, vae = exact_vae()
    z = torch.randn(60, 3)
    joint = np.block([[model.cov1, model.a], [model.a.T, np.eye(1)]])
    wanted = multivariate_normal(np.append(model.mean1, 0), joint).logpdf(z.numpy())
    np.testing.assert_allclose(vae.prior().log_prob(z).detach(), wanted, rtol=1e-9)
    below = multivariate_normal(model.mean, model.cov).logpdf(x.numpy())
    given = np.asarray(
        [
            multivariate_normal(model.w @ pair[:2] + model.c, 0.25 * np.eye(D)).logpdf(row)
            for pair, row in zip(z.numpy(), x.numpy(), strict=True)
        ]
    )
    bayes = wanted + given - below
    np.testing.assert_allclose(vae.encode(x).log_prob(z).detach(), bayes, rtol=1e-8)
    # Each image's code against another's latents: leading dimensions broadcast.
    table = vae.encode(x[:7]).log_prob(z[:5, None])
    assert table.shape == (5, 7)
    np.testing.assert_allclose(table.diagonal().detach(), bayes[:5], rtol=1e-8)


def small(**options: Any) -> VAE:
    return VAE((1, 28, 28), (6, 3), "normal", networks.Ladder(hidden=16), **options)


def test_free_bits_and_beta_are_by_site(few: Tensor) -> None:
    """At a floor that no unit reaches the KL costs λ for each of the 9 units."""
    vae, x = small(), few[:50]
    vae.requires_grad_(True)
    torch.manual_seed(0)
    x = vae.observe(x)
    parts = []
    for objective in (FreeBitsELBO(50.0), FreeBitsELBO(0.0)):
        torch.manual_seed(1)
        parts.append(objective.loss(vae.model, vae.guide, x) / 50)
    terms = pv.elbo.held_out_terms(vae, few[:50])
    kl = float(terms.kl.mean())
    # The KL of the lower latent depends on the draw of the upper one: another draw, another tenth.
    assert parts[0] - parts[1] == pytest.approx(9 * 50 - kl, abs=0.1 * kl + 0.1)
    losses = []
    for beta in (1.0, 3.0):
        torch.manual_seed(1)
        losses.append(Trace_ELBO().loss(vae.model, vae.guide, x, beta=beta) / 50)
    drawn = (losses[1] - losses[0]) / 2
    assert drawn == pytest.approx(kl, abs=0.3 * kl + 0.5)


def test_a_topmost_prior_without_reparameterised_draws_is_drawn_from() -> None:
    """Of two narrow components far apart, every draw is near one of them, and both are drawn."""
    vae = VAE((D,), (2, 3), HEAD, networks.Ladder(hidden=4), prior="mixture:2")
    with torch.no_grad():
        vae.latent_prior.loc.copy_(torch.tensor([[50.0], [-50.0]]).expand(2, 3))
    torch.manual_seed(0)
    z = vae.prior().sample((40,))
    assert z.shape == (40, 5)
    top = z[:, 2:]
    assert (top.abs() - 50).abs().max() < 6
    assert 5 < (top[:, 0] > 0).sum() < 35
    assert (top.sign() == top[:, :1].sign()).all()
    assert vae.sample(3).shape == (3, D)


def test_a_hierarchy_in_every_command(cli: Callable[..., Result], tmp_path: Path) -> None:
    size = ("--latent-dim", "6,3", "--net", "ladder", "--hidden", "16", "--images", "300")
    run = tmp_path / "run"
    done = cli("fit", *size, "--epochs", "2", "--out", run, "--checkpoint", "1")
    assert done.exit_code == 0, done.output
    config = json.loads((run / "config.json").read_text())
    assert [site.get("dim") for site in config["vae"]["sites"]] == [6, 3, None]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    latents = {name: site["units"] for name, site in last["sites"].items() if "kl" in site}
    assert latents == {"latent.1": 6, "latent.2": 3}
    said = cli("evaluate", run, "--iwae", "3", "--json")
    assert said.exit_code == 0, said.output
    scores = json.loads(said.stdout)
    assert len(scores["kl_per_latent"]) == 9
    assert scores["iwae"]["bound"] >= scores["elbo"] - 4 * scores["elbo_standard_error"]
    assert scores["mutual_information"] <= scores["mutual_information_ceiling"] + 1e-6
    for command in ("reconstruct", "sample", "diagnose", "evaluate"):
        done = cli(command, run)
        assert done.exit_code in (0, 3 * (command == "diagnose")), done.output
    assert cli("report", run, "--out", tmp_path / "page.html").exit_code == 0


def test_hierarchies_are_compared(cli: Callable[..., Result], tmp_path: Path) -> None:
    spec = tmp_path / "layers.toml"
    spec.write_text(
        "[base]\nimages = 64\nepochs = 1\nhidden = 8\n[grid.layers]\none = { latent-dim = 3 }\n"
        'two = { latent-dim = "2,1", net = "ladder" }\n'
    )
    done = cli("compare", spec, "--out", tmp_path / "found")
    assert done.exit_code == 0, done.output
    rows = (tmp_path / "found" / "results.csv").read_text().splitlines()
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--latent-dim", "6,3"), "an encoder and a decoder are of one latent"),
        (("--latent-dim", "6,3", "--net", "conv"), "an encoder and a decoder are of one latent"),
        (("--net", "ladder"), "net ladder wants several latents"),
        (("--latent-dim", "6,x"), "latent-dim must be an integer, or one for each latent"),
        (
            ("--latent-dim", "6,0", "--net", "ladder"),
            "latent-dim must be a positive integer, got 0",
        ),
        (("--latent-dim", ",", "--net", "ladder"), "latent-dim must be an integer, or one"),
    ],
)
def test_mistakes(cli: Callable[..., Result], options: tuple[str, ...], said: str) -> None:
    done = cli("fit", "--images", "20", *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_joint_posterior_is_refused_where_one_site_is_wanted(few: Tensor) -> None:
    with pytest.raises(InputError, match="at one latent site, and this model has several"):
        pv.inference.refine(small(), few[:3])


def test_draws_of_a_chain_have_their_moments() -> None:
    """100,000 draws of z2 ~ N(1, 1), z1|z2 ~ N(2 z2, ½²): each within 4.5 standard errors."""
    top = dist.Normal(torch.ones(1), 1.0).to_event(1)
    p = Chain(top, [lambda z: dist.Normal(2 * z, 0.5).to_event(1)], (1, 1))
    drawn = p.sample((100_000,)).double()
    assert drawn.mean(0).tolist() == pytest.approx([2, 1], abs=0.03)
    covariance = torch.cov(drawn.T).flatten().tolist()
    assert covariance == pytest.approx([4.25, 2, 2, 1], abs=0.09)
    assert p.centre.tolist() == [2, 1]
