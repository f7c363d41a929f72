"""Programs with other sites than ``latent`` and ``obs``: every figure counts all of them.

The model and the guide of a subclass are linear-Gaussian, so that numpy says what each term is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy.stats import multivariate_normal, norm
from torch import Tensor, nn

from pyro_vae import VAE, Head, InputError, Param, Part, evaluate, fit
from pyro_vae.metrics import importance_bound
from pyro_vae.objectives import MeanFieldELBO, parse

HEAD = Head.of(dist.Normal, loc=Param(link="identity"), scale=1.0, levels="real")
D, L, N = 3, 2, 40


def normal(loc: Any, scale: Any) -> Any:
    return dist.Normal(loc, scale).to_event(1)


class Own(VAE):
    """Whose programs are a test's own, around linear maps of fixed weights."""

    sigma, above = 0.6, 0.8  # of the guide, and of its upper latent

    def __init__(self) -> None:
        torch.manual_seed(1)
        super().__init__((D,), L, HEAD, (nn.Linear(D, 2 * L), nn.Linear(L, D)))
        self.up, self.down, self.label = nn.Linear(L, L), nn.Linear(L, L), nn.Linear(L, 1)
        self.requires_grad_(True)


class Chain(Own):
    """p(top) p(low|top) p(x|low) and q(low|x) q(top|low), in the opposite orders."""

    def model(self, x: Any = None, beta: Any = 1.0, size: int = 1, **_: Any) -> Any:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            with pyro.poutine.scale(scale=beta):
                top = pyro.sample("top", normal(torch.zeros(L), torch.ones(L)))
                low = pyro.sample("low", normal(self.down(top), 0.7))
            return pyro.sample("obs", normal(self.decoder(low), 1.0), obs=x)

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        with pyro.plate("data", len(x), dim=-1), pyro.poutine.scale(scale=beta):
            low = pyro.sample("low", normal(self.encoder(x)[..., :L], self.sigma))
            pyro.sample("top", normal(self.up(low), self.above))


class Labelled(Own):
    """Two observed sites; the second is a number made of the first."""

    def model(self, x: Any = None, beta: Any = 1.0, size: int = 1, **_: Any) -> Any:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            with pyro.poutine.scale(scale=beta):
                z = pyro.sample("code", normal(torch.zeros(L), torch.ones(L)))
            y = None if x is None else x[:, :1] ** 2
            pyro.sample("y", normal(self.label(z), 0.5), obs=y)
            return pyro.sample("x", normal(self.decoder(z), 1.0), obs=x)

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        with pyro.plate("data", len(x), dim=-1), pyro.poutine.scale(scale=beta):
            pyro.sample("code", normal(self.encoder(x)[..., :L], self.sigma))


class Repeated(Own):
    """Three draws of the latent for each image, in a plate of the program's own."""

    def model(self, x: Any = None, beta: Any = 1.0, size: int = 1, **_: Any) -> Any:
        n = size if x is None else len(x)
        with pyro.plate("draws", 3, dim=-2), pyro.plate("data", n, dim=-1):
            with pyro.poutine.scale(scale=beta):
                z = pyro.sample("z", normal(torch.zeros(L), torch.ones(L)))
            return pyro.sample("pixels", normal(self.decoder(z), 1.0), obs=x)

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        draws, data = pyro.plate("draws", 3, dim=-2), pyro.plate("data", len(x), dim=-1)
        with draws, data, pyro.poutine.scale(scale=beta):
            pyro.sample("z", normal(self.encoder(x)[..., :L], self.sigma))


PROGRAMS: dict[str, type[Own]] = {"chain": Chain, "labelled": Labelled, "repeated": Repeated}


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(N, D)


def affine(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def kl(mean: np.ndarray, variance: float, wanted: np.ndarray, of: float) -> np.ndarray:
    """KL between diagonal normals, per unit."""
    ratio = variance / of
    return 0.5 * (ratio + (mean - wanted) ** 2 / of - 1 - math.log(ratio))


def exact(vae: Own, x: Tensor) -> dict[str, tuple[float, float]]:
    """Expected reconstruction or KL of each site, nats per image, and a draw's variance of it."""
    data = x.double().numpy()
    weight, bias = affine(vae.encoder)
    mean = data @ weight[:L].T + bias[:L]
    decoder, offset = affine(vae.decoder)

    def expected(weight: np.ndarray, bias: np.ndarray, target: Any, sigma: float) -> float:
        """Of a normal around an affine map of the code, E log p(target)."""
        error = (target - mean @ weight.T - bias) ** 2 + 0.36 * (weight**2).sum(1)
        value = -0.5 * error / sigma**2 - math.log(sigma * math.sqrt(2 * math.pi))
        return float(value.sum(1).mean())

    reconstruction = expected(decoder, offset, data, 1.0)
    zeros = np.zeros(L)
    if isinstance(vae, Labelled):
        label = expected(*affine(vae.label), data[:, :1] ** 2, 0.5)
        code = float(kl(mean, 0.36, zeros, 1.0).sum(1).mean())
        return {"x": reconstruction, "y": label, "code": code}
    if isinstance(vae, Repeated):
        code = float(kl(mean, 0.36, zeros, 1.0).sum(1).mean())
        return {"pixels": 3 * reconstruction, "z": 3 * code}
    (up, shift), (down, base) = affine(vae.up), affine(vae.down)
    middle = mean @ up.T + shift
    # q(top|x) has the variance of its own noise and of low's.
    spread = 0.64 + 0.36 * (up**2).sum(1)
    entropy = 0.5 * L * math.log(2 * math.pi * math.e)
    top = -(entropy + L * math.log(0.8)) + float(
        (0.5 * (middle**2 + spread) + 0.5 * math.log(2 * math.pi)).sum(1).mean()
    )
    # low − (down top + base) = (1 − down up) low − down (shift + 0.8 ε) − base
    residual = mean @ (np.eye(L) - down @ up).T - down @ shift - base
    noise = 0.36 * ((np.eye(L) - down @ up) ** 2).sum(1) + 0.64 * (down**2).sum(1)
    low = -(entropy + L * math.log(0.6)) + float(
        (0.5 * (residual**2 + noise) / 0.49 + math.log(0.7 * math.sqrt(2 * math.pi))).sum(1).mean()
    )
    return {"obs": reconstruction, "low": low, "top": top}


@pytest.mark.parametrize("program", PROGRAMS)
def test_evaluate_counts_every_site(program: str, x: Tensor) -> None:
    """Each within 4.5 standard errors of numpy's: one seed in 20,000 fails, of some ten figures."""
    vae = PROGRAMS[program]()
    many = x.repeat(500, 1)  # 500 draws for each
    scores = evaluate(vae, many, parts=())
    wanted = exact(vae, x)
    observed = {name for name in wanted if "kl" not in scores["sites"][name]}
    assert set(scores["sites"]) == set(wanted)
    for name, value in wanted.items():
        key = "reconstruction" if name in observed else "kl"
        assert scores["sites"][name][key] == pytest.approx(value, abs=0.05)
    elbo = sum(value if name in observed else -value for name, value in wanted.items())
    assert scores["elbo"] == pytest.approx(elbo, abs=4.5 * scores["elbo_standard_error"])
    assert scores["kl"] == pytest.approx(sum(scores["kl_per_latent"]), rel=1e-5)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        theirs = -Trace_ELBO().loss(vae.model, vae.guide, many) / len(many)
    # Pyro's KL is sampled, too: its error is about as large.
    assert scores["elbo"] == pytest.approx(theirs, abs=9 * scores["elbo_standard_error"] + 0.02)


@pytest.mark.parametrize("objective", ["trace", "mean-field", "iwae:3"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_records_count_every_site(program: str, objective: str, x: Tensor) -> None:
    """With a learning rate of nothing, epochs are draws at the same weights."""
    vae = PROGRAMS[program]()
    history = fit(vae, x, epochs=120, batch_size=20, lr=1e-30, elbo=objective, validation=x)
    wanted = exact(vae, x)
    sites: dict[str, Any] = history.steps[0]["sites"]
    elbo = sum(-value if "kl" in sites[name] else value for name, value in wanted.items())
    for split in ("training", "held-out"):
        records = history.epochs(split)
        found = [record["elbo"] for record in records]
        if split == "held-out":  # the same noise in every epoch
            found = found[:1]
            error = 0.5
        else:
            error = 4.5 * float(np.std(found)) / math.sqrt(len(found))
        assert np.mean(found) == pytest.approx(elbo, abs=error)
        for record in records:
            units = [site["units"] for site in record["sites"].values() if "kl" in site]
            assert len(record["kl_per_latent"]) == sum(units)
            assert record["kl"] == pytest.approx(sum(record["kl_per_latent"]), rel=1e-4)
    for record in history.steps[:6]:
        terms = [s.get("reconstruction", -s.get("kl", 0)) for s in record["sites"].values()]
        assert record["elbo"] == pytest.approx(sum(terms), rel=1e-5)
    if objective == "trace":
        losses = [record["loss"] for record in history.epochs()]
        error = 4.5 * float(np.std(losses)) / math.sqrt(len(losses))
        assert np.mean(losses) == pytest.approx(-elbo, abs=error)


def log_evidence(vae: Own, x: Tensor) -> np.ndarray:
    """log p(x) of each image, and for ``Labelled`` of its label with it."""
    data = x.double().numpy()
    decoder, offset = affine(vae.decoder)
    if isinstance(vae, Labelled):
        label, base = affine(vae.label)
        weight, bias = np.concatenate([decoder, label]), np.concatenate([offset, base])
        covariance = weight @ weight.T + np.diag([1.0] * D + [0.25])
        found = multivariate_normal(bias, covariance).logpdf(np.c_[data, data[:, :1] ** 2])
        return np.asarray(found)
    if isinstance(vae, Repeated):
        found = multivariate_normal(offset, decoder @ decoder.T + np.eye(D)).logpdf(data)
        return 3 * np.asarray(found)
    down, base = affine(vae.down)
    covariance = decoder @ (down @ down.T + 0.49 * np.eye(L)) @ decoder.T + np.eye(D)
    return np.asarray(multivariate_normal(decoder @ base + offset, covariance).logpdf(data))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_bound_counts_every_site(program: str, x: Tensor) -> None:
    vae = PROGRAMS[program]()
    # Wider than the posterior everywhere, so that weights are even.
    vae.sigma, vae.above = 1.2, 1.3
    nn.init.zeros_(vae.up.weight)
    x = x.clamp(-1, 1)
    bound = importance_bound(vae, x, 4000).observed.numpy()
    # A site that is left out costs a nat and more.
    np.testing.assert_allclose(bound, log_evidence(vae, x), atol=0.25)
    assert bound.mean() == pytest.approx(log_evidence(vae, x).mean(), abs=0.03)
    assert (
        evaluate(vae, x, iwae=50, parts=())["iwae"]["bound"] <= log_evidence(vae, x).mean() + 0.05
    )


def test_a_closed_kl_that_would_be_biased_is_sampled(x: Tensor) -> None:
    """Pyro's mean-field ELBO integrates over ``low`` while it holds ``top``, drawn from it."""
    vae = Chain()
    many = x.repeat(500, 1)
    wanted = exact(vae, x)
    elbo = wanted["obs"] - wanted["low"] - wanted["top"]
    torch.manual_seed(0)
    ours = -MeanFieldELBO().loss(vae.model, vae.guide, many) / len(many)
    with pytest.warns(UserWarning, match="mean field restriction"):
        theirs = -TraceMeanField_ELBO().loss(vae.model, vae.guide, many) / len(many)
    assert ours == pytest.approx(elbo, abs=0.06)
    assert abs(theirs - elbo) > 0.2


@pytest.mark.parametrize("text", ["free-bits:0", "capacity:0,gamma=1"])
def test_objectives_of_the_kl_agree_with_the_elbo_on_a_chain(text: str, x: Tensor) -> None:
    """No free bits, and a capacity of none, are the ELBO where each KL is positive on average."""
    vae, many = Chain(), x.repeat(500, 1)
    wanted = exact(vae, x)
    torch.manual_seed(0)
    loss = parse(text).loss(vae.model, vae.guide, many) / len(many)
    assert loss == pytest.approx(wanted["low"] + wanted["top"] - wanted["obs"], abs=0.06)


class Outside(Own):
    """A latent outside the data's plate."""

    def model(self, x: Any = None, beta: Any = 1.0, size: int = 1, **_: Any) -> Any:
        shared = pyro.sample("shared", normal(torch.zeros(D), torch.ones(D)))
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            z = pyro.sample("z", normal(torch.zeros(L), torch.ones(L)))
            return pyro.sample("obs", normal(self.decoder(z) + shared, 1.0), obs=x)

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        pyro.sample("shared", normal(torch.zeros(D), torch.ones(D)))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", normal(self.encoder(x)[..., :L], self.sigma))


class Unmatched(Chain):
    """Whose guide forgets a site."""

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("low", normal(self.encoder(x)[..., :L], self.sigma))


class Meanless(Labelled):
    """Whose posterior has no mean."""

    def guide(self, x: Any, beta: Any = 1.0, **_: Any) -> Any:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("code", Hidden(self.encoder(x)[..., :L], 1.0).to_event(1))


class Hidden(dist.Normal):  # type: ignore[misc]
    """A distribution whose mean nobody has written down."""

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("program", "site"), [(Outside, "shared"), (Unmatched, "top"), (Meanless, "code")]
)
@pytest.mark.parametrize("call", [fit, evaluate], ids=["fit", "evaluate"])
def test_a_site_that_cannot_be_scored_is_named(
    program: Callable[[], Own], site: str, call: Any, x: Tensor
) -> None:
    with pytest.raises(InputError, match=f"site '{site}'"):
        call(program(), x)


def test_a_masked_element_counts_nowhere(x: Tensor) -> None:
    """A handler's mask, as of padding, leaves its elements out of every figure."""
    there = torch.arange(N) % 2 == 0

    class Padded(Labelled):
        def model(self, x: Any = None, **options: Any) -> Any:
            with pyro.poutine.mask(mask=there):
                return super().model(x, **options)

        def guide(self, x: Any, **options: Any) -> Any:
            with pyro.poutine.mask(mask=there):
                return super().guide(x, **options)

    whole = evaluate(Labelled(), x[there], parts=())["sites"]["code"]["kl"]
    half = evaluate(Padded(), x, parts=())["sites"]["code"]["kl"]
    assert half == pytest.approx(whole / 2, rel=1e-5)


JOINT = {"blood": Part((3,), "real-normal"), "age": Part((1,), "real-normal")}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"mask": {"Blood": torch.ones(9, 3, dtype=torch.bool)}},
            "part of a mask 'Blood'.*'blood'",
        ),
        ({"mask": torch.ones(9, 3, dtype=torch.bool)}, "a mask must be a mapping from blood, age"),
    ],
)
@pytest.mark.parametrize("end", ["model", "guide"])
def test_a_mask_of_no_part_is_refused(given: dict[str, Any], said: str, end: str) -> None:
    x = {"blood": torch.randn(9, 3), "age": torch.randn(9, 1)}
    with pytest.raises(InputError, match=said):
        getattr(VAE(JOINT, 2), end)(x, **given)


@pytest.mark.parametrize("end", ["model", "guide"])
def test_gaps_without_a_mask_are_said(end: str) -> None:
    x = {"blood": torch.randn(9, 3), "age": torch.randn(9, 1)}
    x["age"][2] = math.nan
    with pytest.raises(InputError, match=r"1 of 9 values are NaN: .* mask=, True where"):
        getattr(VAE(JOINT, 2), end)(x)
    with pytest.raises(InputError, match="1 of 9 values are NaN"):
        getattr(VAE((1,), 2, "real-normal"), end)(x["age"])
    masks = {"age": ~x["age"].isnan()}
    getattr(VAE(JOINT, 2), end)(x, mask=masks)


def test_numpys_figures_are_those_of_many_draws(x: Tensor) -> None:
    """The oracle itself, against scipy at a million draws of one image."""
    vae, rng = Chain(), np.random.default_rng(0)
    weight, bias = affine(vae.encoder)
    mean = x[:1].double().numpy() @ weight[:L].T + bias[:L]
    low = mean + 0.6 * rng.standard_normal((1_000_000, L))
    (up, shift), (down, base) = affine(vae.up), affine(vae.down)
    centre = low @ up.T + shift
    top = centre + 0.8 * rng.standard_normal(low.shape)
    ratio = norm(mean, 0.6).logpdf(low) - norm(top @ down.T + base, 0.7).logpdf(low)
    wanted = exact(vae, x[:1])
    assert wanted["low"] == pytest.approx(float(ratio.sum(1).mean()), abs=0.02)
    above = norm(centre, 0.8).logpdf(top) - norm.logpdf(top)
    assert wanted["top"] == pytest.approx(float(above.sum(1).mean()), abs=0.02)
